//! How the network behaves.

use std::time::Duration;

use super::dice::Dice;

/// How the network behaves.
#[derive(Clone, Debug)]
pub struct Weather {
    /// Least and greatest time from one kernel to the other.
    pub latency: (Duration, Duration),
    /// What the kernel of the sending end holds of each direction.
    pub send_buffer: usize,
    /// The same at the receiving end.
    pub recv_buffer: usize,
    /// Reads and writes take less than they could, at random.
    pub chops: bool,
    /// As mio on Windows: what was told of a socket is not told again before a call on it has said
    /// `WouldBlock`.
    pub rearms: bool,
}

impl Weather {
    /// A fast and large line.
    pub fn fair() -> Self {
        let latency = (Duration::from_micros(50), Duration::from_micros(200));
        Self {
            latency,
            send_buffer: 128 << 10,
            recv_buffer: 256 << 10,
            chops: false,
            rearms: false,
        }
    }

    /// Any other.
    pub fn random(dice: &mut Dice) -> Self {
        let sizes = [1, 700, 1044, 4 << 10, 64 << 10, 256 << 10];
        let least = Duration::from_micros(dice.range(0..=2000) as u64);
        Self {
            latency: (least, least + Duration::from_micros(dice.range(0..=20_000) as u64)),
            send_buffer: *dice.pick(&sizes[1..]),
            recv_buffer: *dice.pick(&sizes[1..]),
            chops: dice.one_in(2),
            rearms: false,
        }
    }
}
