//! A real line: packets of the kernel's own TCP and UDP between two namespaces.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use tmp2p_line::{End, Net, Shape};

/// Nothing here takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

fn inside<T: Send>(end: &End, work: impl FnOnce(Ipv4Addr) -> io::Result<T> + Send) -> T {
    end.inside(|| work(end.addr())).unwrap().unwrap()
}

/// Two sockets that send to one another.
fn udp(net: &Net) -> [UdpSocket; 2] {
    let [a, b] = net.ends() else { panic!("it has two ends") };
    let sockets = [a, b].map(|end| inside(end, |addr| UdpSocket::bind((addr, 0))));
    let [at_a, at_b] = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
    sockets[0].connect(at_b).unwrap();
    sockets[1].connect(at_a).unwrap();
    sockets.iter().for_each(|socket| socket.set_read_timeout(Some(PATIENCE)).unwrap());
    sockets
}

#[test]
#[ignore = "needs root and /dev/net/tun: run by .ci/run, or `cargo test -p tmp2p-line -- --ignored`"]
fn a_message_and_its_answer_take_a_round_trip() {
    let line = Net::open(2, Shape::new(100_000_000, Duration::from_millis(200)), 1).unwrap();
    let [a, b] = udp(&line);
    let mut buffer = [0; 100];
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let sent = Instant::now();
        a.send(&[1; 100]).unwrap();
        assert_eq!(b.recv(&mut buffer).unwrap(), 100);
        let (there, answered) = (sent.elapsed(), Instant::now());
        b.send(&[2; 100]).unwrap();
        assert_eq!(a.recv(&mut buffer).unwrap(), 100);
        for way in [there, answered.elapsed()] {
            assert!(way >= Duration::from_millis(100), "{way:?}");
            fastest = fastest.min(way);
        }
    }
    // How late one is, is a matter of the machine; that all are is none.
    assert!(fastest < Duration::from_millis(150), "{fastest:?}");
    line.close();
}

#[test]
#[ignore = "needs root and /dev/net/tun: run by .ci/run, or `cargo test -p tmp2p-line -- --ignored`"]
fn a_stream_takes_the_time_that_its_rate_needs() {
    // A million bytes a second; the stream is a second and a half of it.
    let line = Net::open(2, Shape::new(8_000_000, Duration::from_millis(20)), 2).unwrap();
    let bytes = 1_500_000;
    let [a, b] = line.ends() else { panic!("it has two ends") };
    let listener = inside(b, |addr| TcpListener::bind((addr, 0)));
    let to = listener.local_addr().unwrap();
    let mut sending = inside(a, |_| TcpStream::connect(to));
    let (mut receiving, _) = listener.accept().unwrap();
    receiving.set_read_timeout(Some(PATIENCE)).unwrap();
    let started = Instant::now();
    thread::scope(|scope| {
        scope.spawn(move || sending.write_all(&vec![0x5a; bytes]).unwrap());
        let mut received = Vec::new();
        receiving.read_to_end(&mut received).unwrap();
        assert_eq!(received.len(), bytes);
    });
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(1500), "{took:?}");
    // TCP finds the rate: it has lost little time.
    assert!(took < Duration::from_secs(3), "{took:?}");
    line.close();
}

#[test]
#[ignore = "needs root and /dev/net/tun: run by .ci/run, or `cargo test -p tmp2p-line -- --ignored`"]
fn what_is_lost_does_not_arrive_and_the_namespaces_go() {
    let shape = Shape { lost_per_mille: 500, ..Shape::new(100_000_000, Duration::from_millis(20)) };
    let line = Net::open(2, shape, 3).unwrap();
    let [a, b] = udp(&line);
    for _ in 0..200 {
        a.send(&[1; 100]).unwrap();
    }
    b.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut buffer = [0; 100];
    let came = (0..200).take_while(|_| b.recv(&mut buffer).is_ok()).count();
    assert!((60..=140).contains(&came), "{came} of 200");

    let place = |end: &End| Path::new("/run/netns").join(end.namespace());
    let places: Vec<_> = line.ends().iter().map(place).collect();
    assert!(places.iter().all(|place| place.exists()));
    drop(line);
    assert!(!places.iter().any(|place| place.exists()));
}

#[test]
#[ignore = "needs root and /dev/net/tun: run by .ci/run, or `cargo test -p tmp2p-line -- --ignored`"]
fn each_end_reaches_each_other_unless_the_line_is_cut() {
    let shape = Shape::new(100_000_000, Duration::from_millis(20));
    let net = Net::open(3, shape, 4).unwrap();
    let sockets: Vec<_> =
        net.ends().iter().map(|end| inside(end, |addr| UdpSocket::bind((addr, 4000)))).collect();
    let reached = |from: usize, to: usize| {
        let mut buffer = [0; 8];
        let socket = &sockets[to];
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        sockets[from].send_to(&[from as u8], socket.local_addr().unwrap()).unwrap();
        socket.recv_from(&mut buffer).is_ok_and(|(_, at)| at == sockets[from].local_addr().unwrap())
    };
    let pairs = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)];
    assert!(pairs.iter().all(|&(from, to)| reached(from, to)));
    net.set_lines(|from, to| (from == 2 || to != 2).then_some(shape));
    assert_eq!(pairs.map(|(from, to)| reached(from, to)), [true, false, true, false, true, true]);
    net.set_lines(|_, _| Some(shape));
    assert!(pairs.iter().all(|&(from, to)| reached(from, to)));
    net.close();
}
