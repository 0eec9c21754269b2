//! What a reactor wants, and whether it can have it.

use std::fmt;

use super::SwitchHandle;
use crate::{
    channel::ChannelDescriptor,
    config::Config,
    pex,
    reactor::{MAX_CHANNELS, Peer, RegisterError},
};

/// The reactor of peer exchange, whose thread is `p2p-pex`.
pub(super) const PEX: &str = "PEX";

/// What a reactor wants, for [`SwitchBuilder::reactor`](super::SwitchBuilder::reactor). Only a name is
/// needed; a reactor without channels hears of peers.
///
/// ```
/// use tmp2p::{ChannelDescriptor, ReactorSpec};
///
/// let votes = ReactorSpec::new("votes")
///     .channel(ChannelDescriptor::new(0x22).priority(7))
///     .on_init(|peer, switch| println!("{peer} comes to {}", switch.id()))
///     .may_end();
/// ```
#[must_use]
pub struct ReactorSpec {
    pub(super) name: String,
    pub(super) channels: Vec<ChannelDescriptor>,
    pub(super) on_init: Option<InitHook>,
    pub(super) may_end: bool,
}

pub(super) type InitHook = Box<dyn FnMut(&Peer, &SwitchHandle) + Send>;

impl ReactorSpec {
    /// A reactor of this name, which logs and errors call it by.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), channels: Vec::new(), on_init: None, may_end: false }
    }

    /// It owns this channel, beside others it may own.
    #[doc(alias = "GetChannels")]
    pub fn channel(mut self, channel: ChannelDescriptor) -> Self {
        self.channels.push(channel);
        self
    }

    /// Runs `hook` for every peer that is about to be admitted, before any reactor hears of it and
    /// before it can send a byte; hooks of several reactors in the order of their registration. A
    /// reactor has one hook, the last that is given.
    ///
    /// On the switch's thread, `p2p-switch`: it must not block, or nobody is admitted and nobody's end is
    /// told meanwhile. A panic in it rejects the peer. Calls that would wait for the switch are
    /// refused in it; the [`Switch`](super::Switch) itself may be dropped there.
    #[doc(alias = "InitPeer")]
    pub fn on_init(mut self, hook: impl FnMut(&Peer, &SwitchHandle) + Send + 'static) -> Self {
        self.on_init = Some(Box::new(hook));
        self
    }

    /// Lets the switch go on when the [`Reactor`](crate::Reactor) is dropped. Without it that stops the
    /// switch.
    pub fn may_end(mut self) -> Self {
        self.may_end = true;
        self
    }

    /// Whether it can have what it wants beside these others.
    pub(super) fn check<'a>(
        &'a self,
        config: &Config,
        others: impl Iterator<Item = &'a Self>,
    ) -> Result<(), RegisterError> {
        let pex = [pex::channel()];
        let mut others: Vec<(&str, &[_])> =
            others.map(|o| (o.name.as_str(), o.channels.as_slice())).collect();
        if config.pex {
            others.push((PEX, &pex));
        }
        if others.iter().any(|(name, _)| *name == self.name) {
            return Err(RegisterError::NameTaken(self.name.clone()));
        }
        for (i, descriptor) in self.channels.iter().enumerate() {
            let channel = descriptor.id;
            let own = (self.name.as_str(), self.channels.get(..i).unwrap_or_default());
            let owner = others.iter().chain([&own]).find(|o| o.1.iter().any(|c| c.id == channel));
            if let Some((owner, _)) = owner {
                let (name, owner) = (self.name.clone(), (*owner).to_owned());
                return Err(RegisterError::ChannelTaken { channel, name, owner });
            }
            check_values(descriptor, config)?;
        }
        let total: usize = others.iter().map(|(_, channels)| channels.len()).sum();
        if total + self.channels.len() > MAX_CHANNELS {
            return Err(RegisterError::TooManyChannels);
        }
        Ok(())
    }
}

fn check_values(descriptor: &ChannelDescriptor, config: &Config) -> Result<(), RegisterError> {
    let (channel, capacity) = (descriptor.id, descriptor.recv_message_capacity);
    for (value, is_zero) in [
        ("priority", descriptor.priority == 0),
        ("send_queue_capacity", descriptor.send_queue_capacity == 0),
        ("recv_message_capacity", capacity == 0),
    ] {
        if is_zero {
            return Err(RegisterError::Zero { channel, value });
        }
    }
    for (key, limit) in
        [("parking_total", config.parking_total), ("reassembly_pool", config.reassembly_pool)]
    {
        if limit / 2 < capacity {
            return Err(RegisterError::CapacityOverPool { channel, capacity, key, limit });
        }
    }
    Ok(())
}

impl fmt::Debug for ReactorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReactorSpec")
            .field("name", &self.name)
            .field("channels", &self.channels)
            .field("on_init", &self.on_init.is_some())
            .field("may_end", &self.may_end)
            .finish()
    }
}
