//! One HTTP connection in virtual time: deadlines, limits, and who is to do something next.

#[path = "../../examples/common/http/kept.rs"]
mod kept;
#[path = "../../examples/common/http/message.rs"]
#[allow(dead_code, reason = "the programs use the rest")]
mod message;
#[path = "../../examples/common/http/query.rs"]
mod query;
#[path = "../../examples/common/http/session.rs"]
mod session;

use std::time::Duration;

use http_net::{HttpDate, HttpError, Method};

use kept::Kept;
use message::Reply;
use query::{BadEscape, parameter};
use session::{ANSWER, DRAIN, IDLE, REQUEST, Session, Step};

const MAX_BODY: usize = 1000;
const SECOND: Duration = Duration::from_secs(1);
/// Nobody holds more than this without being at work: the buffer of a request's head, and what is
/// read at once.
const MOST: usize = 400 << 10;

fn session() -> Session {
    Session::new(MAX_BODY, Duration::ZERO)
}

fn date() -> HttpDate {
    HttpDate::from_unix_seconds(0)
}

/// Reads as long as something is written; what was.
fn read(session: &mut Session, now: Duration) -> String {
    let mut text = Vec::new();
    while session.step() == Step::Write {
        let part: Vec<u8> = session.output().iter().flat_map(|part| part.to_vec()).collect();
        let part = &part[..part.len().min(7)];
        text.extend_from_slice(part);
        session.written(part.len(), now);
    }
    String::from_utf8(text).unwrap()
}

/// Answers what is asked with what was asked, until nothing more is; what the client reads.
fn serve(session: &mut Session, now: Duration) -> String {
    let mut text = String::new();
    loop {
        match session.step() {
            Step::Write => text += &read(session, now),
            Step::Answer => {
                let reply = match session.asked() {
                    Ok(request) => {
                        let query = String::from_utf8_lossy(request.query);
                        let body = String::from_utf8_lossy(request.body);
                        Reply::text(200, format_args!("{} {query} {body}", request.path))
                    }
                    Err(error) => Reply::text(error.status().unwrap(), error),
                };
                session.answer(reply, &date(), now);
            }
            _ => return text,
        }
    }
}

/// The status codes in it.
fn codes(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| line.starts_with("HTTP/1.1 "));
    lines.map(|line| line.split(' ').nth(1).unwrap()).collect()
}

fn refused(request: &[u8]) -> HttpError {
    let mut session = session();
    session.feed(request, Duration::ZERO);
    assert_eq!(session.step(), Step::Answer, "{}", String::from_utf8_lossy(request));
    session.asked().unwrap_err()
}

#[test]
fn a_request_is_one_however_it_arrives() {
    let text = b"\r\nPOST /a?b=\"c d\" HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbodyGET /next HTTP/1.1\r\n\
                 Host: x\r\nConnection: close\r\n\r\n";
    let text = String::from_utf8(text.to_vec()).unwrap().replace("c d", "c%20d");
    let mut whole = session();
    whole.feed(text.as_bytes(), Duration::ZERO);
    let expected = serve(&mut whole, Duration::ZERO);
    assert_eq!(codes(&expected), ["200", "200"]);
    assert!(expected.contains("/a b=\"c%20d\" body\n") && expected.contains("/next  \n"));
    assert_eq!(whole.step(), Step::Drain);

    let mut pieces = session();
    let mut read = String::new();
    for byte in text.bytes() {
        pieces.feed(&[byte], Duration::ZERO);
        read += &serve(&mut pieces, Duration::ZERO);
    }
    assert_eq!(read, expected);
}

/// What browsers write differently from curl, and what Go takes.
#[test]
fn quotes_braces_and_bad_escapes_reach_who_answers() {
    for query in ["tx=\"hello\"", "tx={|}`^\\<>", "tx=%zz%", "tx=\u{e9}", "a=1?b#c"] {
        let mut session = session();
        let text = format!("GET http://host/path?{query} HTTP/1.1\r\nHost: x\r\n\r\n");
        session.feed(text.as_bytes(), Duration::ZERO);
        assert_eq!(session.step(), Step::Answer);
        let request = session.asked().unwrap();
        assert_eq!((request.method, request.path), (Method::Get, "/path"));
        assert_eq!(request.query, query.as_bytes());
    }
    for line in ["GET", "GET /", "GET / a HTTP/1.1", "GET /\u{7f} HTTP/1.1", "\u{16}\u{3}\u{1}"] {
        let error = refused(format!("{line}\r\nHost: x\r\n\r\n").as_bytes());
        assert_eq!(error.status(), Some(400), "{line}: {error}");
    }
}

/// As Go looks it up: decoded, `/` where there is none, and of a proxy's target what follows the host.
#[test]
fn a_path_is_found_as_go_finds_it() {
    for (target, path, query) in [
        ("/%73tatus", "/status", ""),
        ("/a+b", "/a+b", ""),
        ("/a%zz%4", "/a%zz%4", ""),
        ("http://host", "/", ""),
        ("http://host?tx=/1", "/", "tx=/1"),
        ("HTTP://host/a?b=/c?d", "/a", "b=/c?d"),
        ("/?a", "/", "a"),
    ] {
        let mut session = session();
        session
            .feed(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes(), Duration::ZERO);
        assert_eq!(session.step(), Step::Answer);
        let request = session.asked().unwrap();
        assert_eq!((request.path, request.query), (path, query.as_bytes()), "{target}");
    }
}

#[test]
fn parameters_are_decoded_or_refused() {
    let query = b"a=1&tx=%22a+%2b%22&tx=2&%74y=3&empty&last=";
    assert_eq!(parameter(query, "tx"), Some(Ok(b"\"a +\"".to_vec())));
    assert_eq!(parameter(query, "ty"), Some(Ok(b"3".to_vec())));
    assert_eq!(parameter(query, "empty"), Some(Ok(Vec::new())));
    assert_eq!(parameter(query, "last"), Some(Ok(Vec::new())));
    assert_eq!(parameter(query, "other"), None);
    for bad in ["%", "a%4", "%4x", "%x4", "%%41", "%+1", "%zz"] {
        assert_eq!(parameter(format!("tx={bad}").as_bytes(), "tx"), Some(Err(BadEscape)), "{bad}");
    }
}

#[test]
fn absurd_lengths_are_refused_before_there_is_a_body() {
    let nines = "9".repeat(400);
    for (length, status) in [
        ("1001", 413),
        ("1000000000000000", 413),
        ("18446744073709551615", 413),
        ("18446744073709551616", 400),
        (nines.as_str(), 400),
        ("-1", 400),
        ("1, 1", 400),
    ] {
        for method in ["GET", "POST"] {
            let head =
                format!("{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
            assert_eq!(refused(head.as_bytes()).status(), Some(status), "{length}");
        }
    }
    for (chunks, status) in [
        ("3e9\r\n", 413),
        ("ffffffffffffffff\r\n", 413),
        ("10000000000000000\r\n", 400),
        ("1f4\r\n{500}\r\n1f5\r\n", 413),
    ] {
        let chunks = chunks.replace("{500}", &"x".repeat(500));
        let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(refused((head.to_owned() + &chunks).as_bytes()).status(), Some(status));
    }
}

#[test]
fn lines_and_heads_without_end_take_little_memory() {
    let never = "GET /".to_owned() + &"a".repeat(16 << 10);
    let line = "GET / HTTP/1.1\r\nHost: x\r\nA: ".to_owned() + &"a".repeat(16 << 10);
    let fields = "GET / HTTP/1.1\r\nHost: x\r\n".to_owned() + &"A: b\r\n".repeat(1000);
    let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let extensions = chunked.to_owned() + &format!("1;{}\r\nx\r\n", "a".repeat(500)).repeat(40);
    let trailers = chunked.to_owned() + "0\r\n" + &"A: b\r\n".repeat(1000);
    let cases = [
        (never, "a".repeat(16 << 10)),
        (line, "a".repeat(16 << 10)),
        (fields, "A: b\r\n".repeat(1000)),
        (extensions, "1;a\r\nx\r\n".repeat(1000)),
        (trailers, "A: b\r\n".repeat(1000)),
    ];
    for (beginning, more) in cases {
        let mut session = session();
        session.feed(beginning.as_bytes(), Duration::ZERO);
        let mut rounds = 0;
        while session.step() == Step::Read {
            session.feed(more.as_bytes(), Duration::ZERO);
            assert!(session.held() < MOST, "{} bytes of {beginning:.40}", session.held());
            rounds += 1;
            assert!(rounds < 100, "{beginning:.40}");
        }
        assert_eq!(session.step(), Step::Answer);
        let status = session.asked().unwrap_err().status().unwrap();
        assert!([400, 414, 431].contains(&status), "{status}: {beginning:.40}");
        let text = serve(&mut session, Duration::ZERO);
        assert_eq!(codes(&text), [status.to_string()]);
        assert_eq!(session.step(), Step::Drain);
    }
}

/// Nothing that a client does in between makes it longer.
#[test]
fn a_request_has_to_be_there_in_time() {
    for request in
        ["POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\nabc", "GET / HTTP/1.1\r\nHost: x"]
    {
        let mut session = session();
        assert_eq!((session.step(), session.deadline()), (Step::Read, IDLE));
        let begun = 3 * SECOND;
        for (second, byte) in request.bytes().enumerate() {
            session.feed(&[byte], begun + second as u32 * SECOND);
            assert_eq!(session.step(), Step::Read);
            assert_eq!(session.deadline(), begun + REQUEST);
        }
    }
    // Empty lines are the beginning of one as well.
    let mut session = session();
    session.feed(b"\r\n", SECOND);
    assert_eq!((session.step(), session.deadline()), (Step::Read, SECOND + REQUEST));
    // More of them put nothing off.
    session.feed(b"\r\n", 9 * SECOND);
    assert_eq!((session.step(), session.deadline()), (Step::Read, SECOND + REQUEST));
}

/// Each byte that is no UTF-8 becomes three in the path.
#[test]
fn the_target_of_a_request_is_counted_and_gone_with_it() {
    let mut session = session();
    let mut request = b"GET /".to_vec();
    request.resize(60_000, 0xff);
    request.extend_from_slice(b"?");
    request.resize(64_000, b'q');
    request.extend_from_slice(b" HTTP/1.1\r\nHost: x\r\n\r\n");
    session.feed(&request, SECOND);
    assert_eq!(session.step(), Step::Answer);
    assert!(session.held() > 3 * 59_000 + 3_000, "{}", session.held());
    let before = session.held();
    session.answer(Reply::text(404, ""), &date(), SECOND);
    assert!(session.held() + 3 * 59_000 < before, "{} of {before}", session.held());
}

#[test]
fn who_does_not_read_is_not_read_from_and_ends() {
    let mut session = session();
    session.feed("GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3).as_bytes(), SECOND);
    assert_eq!(session.step(), Step::Answer);
    session.answer(Reply::text(200, "page"), &date(), 2 * SECOND);
    for second in 3..10 {
        assert_eq!((session.step(), session.deadline()), (Step::Write, 2 * SECOND + ANSWER));
        // A byte now and then changes nothing.
        session.written(1, second * SECOND);
    }
    assert_eq!(session.since(), Duration::ZERO);
    assert_eq!(codes(&read(&mut session, 10 * SECOND)), [""; 0]);
    // The next one is here already.
    assert_eq!((session.since(), session.deadline()), (10 * SECOND, 10 * SECOND + REQUEST));
    assert_eq!(codes(&serve(&mut session, 11 * SECOND)), ["200", "200"]);
    assert_eq!((session.step(), session.deadline()), (Step::Read, 11 * SECOND + IDLE));
    // What is kept of a connection that waits is small.
    assert!(session.held() < 1024, "{}", session.held());
}

#[test]
fn a_client_that_sends_no_more_gets_its_answers() {
    let request = "GET /half HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut half = session();
    half.feed(request.repeat(2).as_bytes(), SECOND);
    half.end();
    assert_eq!(codes(&serve(&mut half, SECOND)), ["200", "200"]);
    assert_eq!(half.step(), Step::Close);

    // In the middle of one, nobody waits for anything.
    for at in [0, 3, 20, 25] {
        let mut cut = session();
        cut.feed(&request.as_bytes()[..at], SECOND);
        cut.end();
        assert_eq!(serve(&mut cut, SECOND), "");
        assert_eq!(cut.step(), Step::Close, "{at}");
    }
}

/// Else the system resets the connection, and the client does not see why.
#[test]
fn what_comes_after_the_last_answer_is_thrown_away_for_a_while() {
    let mut session = session();
    session.feed(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\nabc", SECOND);
    let text = serve(&mut session, SECOND);
    assert!(text.to_lowercase().contains("\r\nconnection: close\r\n"), "{text}");
    assert_eq!((session.step(), session.deadline()), (Step::Drain, SECOND + DRAIN));
    let mut drained = 0;
    while session.step() == Step::Drain {
        session.feed(&[0; 16 << 10], SECOND);
        drained += 16 << 10;
        assert!(session.held() < MOST && drained < 1 << 20);
    }
    assert_eq!((session.step(), session.deadline()), (Step::Close, SECOND + DRAIN));
}

#[test]
fn an_answer_to_head_has_no_body_and_the_same_length() {
    let mut session = session();
    session.feed(b"HEAD /page HTTP/1.1\r\nHost: x\r\n\r\n", SECOND);
    let head = serve(&mut session, SECOND);
    session.feed(b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n", SECOND);
    assert_eq!(head + "/page  \n", serve(&mut session, SECOND));
}

#[test]
fn a_client_that_asks_whether_to_send_a_body_is_told_to() {
    let mut session = session();
    let head = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    session.feed(head, SECOND);
    assert_eq!(codes(&serve(&mut session, 2 * SECOND)), ["100"]);
    assert_eq!((session.step(), session.deadline()), (Step::Read, SECOND + REQUEST));
    session.feed(b"body", 3 * SECOND);
    let text = serve(&mut session, 3 * SECOND);
    assert!(codes(&text) == ["200"] && text.ends_with("/p  body\n"), "{text}");
}

/// Who is in the middle of a long answer is not the first to go where there is no room.
#[test]
fn whoever_takes_a_piece_of_an_answer_has_not_waited() {
    let mut session = session();
    session.feed(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", SECOND);
    assert_eq!((session.step(), session.since()), (Step::Answer, Duration::ZERO));
    session.answer(Reply::text(200, "x".repeat(1 << 20)), &date(), 2 * SECOND);
    assert_eq!((session.step(), session.since()), (Step::Write, Duration::ZERO));
    session.written(100 << 10, 7 * SECOND);
    assert_eq!((session.step(), session.since()), (Step::Write, 7 * SECOND));
    // That is no reason for more time.
    assert_eq!(session.deadline(), 2 * SECOND + ANSWER);
}

/// A page that several read and nobody else has any more counts once.
#[test]
fn readers_of_a_page_share_what_it_takes() {
    let page = Reply::new(200, "text/plain", vec![b'x'; 1_000_000]);
    let reader = || {
        let mut session = session();
        session.feed(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", SECOND);
        assert_eq!(session.step(), Step::Answer);
        session.answer(page.clone(), &date(), SECOND);
        session
    };
    let readers = [(); 3].map(|()| reader());
    let held = || readers.iter().map(Session::held).sum::<usize>();
    assert!((750_000..800_000).contains(&held()), "{}", held());
    drop(page);
    assert!((1_000_000..1_050_000).contains(&held()), "{}", held());
}

/// Pages that many ask for take no more than a tenth of the time of who makes them.
#[test]
fn making_pages_takes_its_share_of_the_time_and_no_more() {
    let now = std::cell::Cell::new(Duration::ZERO);
    let mut kept = Kept::new(4);
    let mut busy = Duration::ZERO;
    while now.get() < 100 * SECOND {
        for name in ["a", "b", "c", "d"] {
            let took = Duration::from_millis(30);
            let make = || {
                now.set(now.get() + took);
                busy += took;
                name
            };
            assert_eq!(kept.get(name, || now.get(), make), name);
        }
        now.set(now.get() + Duration::from_millis(1));
    }
    let share = busy.as_secs_f64() / now.get().as_secs_f64();
    assert!((0.08..0.11).contains(&share), "{share}");
}
