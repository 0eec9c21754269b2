//! What a program prints whose `main` returns an error: its `Debug`.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{error::Error, time::Duration};

use tmp2p::{
    BanTarget, ChannelDescriptor, Cidr, Config, NodeId, NodeInfo, NodeKey, PeerAddress,
    ReactorSpec, SendError, SendErrorKind, StoreError, Switch,
};

/// One that holds on to nothing but what went wrong.
struct Broken;

impl tmp2p::BookStore for Broken {
    fn load(&mut self) -> Result<tmp2p::StoredBook, StoreError> {
        Err(StoreError::with_source("cannot read the book", std::io::Error::other("no such disk")))
    }

    fn write(&mut self, _: &tmp2p::StoreBatch) -> Result<(), StoreError> {
        Ok(())
    }
}

fn builder(config: Config) -> tmp2p::SwitchBuilder {
    Switch::builder(config, NodeKey::generate(), NodeInfo::new("chain", "node").unwrap())
}

fn failed<T>(result: Result<T, impl Error + 'static>) -> Box<dyn Error> {
    Box::new(result.err().unwrap())
}

#[test]
fn an_error_that_main_returns_reads_as_its_text_with_all_causes() {
    let unfit = Config { ping_interval: Duration::ZERO, ..Config::default() };
    let mut broken = builder(Config::default());
    broken.book_store(Broken);
    let mut twice = builder(Config::default());
    let spec = || ReactorSpec::new("test").channel(ChannelDescriptor::new(0x20));
    let _reactor = twice.reactor(spec()).unwrap();
    let stopped = builder(Config::default());
    let handle = stopped.handle().clone();
    drop(stopped);
    let nobody = NodeKey::generate().id();
    for error in [
        failed("x".parse::<NodeId>()),
        failed("x@y".parse::<PeerAddress>()),
        failed("1.2.3.4/99".parse::<Cidr>()),
        failed("x".parse::<BanTarget>()),
        failed(NodeKey::load("/no/such/folder/node_key.json")),
        failed(NodeInfo::new("", "node")),
        failed(builder(unfit).start()),
        failed(broken.start()),
        failed(twice.reactor(spec())),
        failed(handle.disconnect(nobody, "nobody")),
        failed(handle.remove_persistent(nobody)),
        failed(handle.dial(format!("{nobody}@127.0.0.1:1").parse().unwrap()).wait()),
        failed(Err::<(), _>(SendError { kind: SendErrorKind::Full, payload: "x".into() })),
    ] {
        let (text, shown) = (error.to_string(), format!("{error:?}"));
        assert!(shown.starts_with(&text), "{shown} is not {text}");
        let mut cause = error.source();
        while let Some(why) = cause {
            assert_eq!(shown.matches(&why.to_string()).count(), 1, "of {why} in {shown}");
            cause = why.source();
        }
    }
    let told = format!("{:?}", failed(Err::<(), _>(StoreError::with_source("no book", Cause))));
    assert_eq!(told, "no book: the disk is full");
}

#[derive(Debug)]
struct Cause;

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the disk is full")
    }
}

impl Error for Cause {}
