//! Nodes that find each other: peer exchange and its book, from end to end.

mod alone;
mod churn;
mod crawl;
mod ensure;
mod exchange;
mod settings;
