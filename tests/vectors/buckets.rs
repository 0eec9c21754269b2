//! `buckets.json`: which buckets an address belongs to.

use serde_json::Value;
use tmp2p::{BookKey, NetAddress, internals::addrbook::BucketHash};

use super::{bytes, cases, load, text};

#[test]
fn vectors_buckets() {
    let file = load("buckets.json");
    let hash_key = bytes(&file, "hash_key").try_into().expect("a hash key has 32 bytes");
    let key = BookKey { text: text(&file, "key").to_owned(), hash: hash_key };
    for case in cases(&file, "cases") {
        let hash = BucketHash::new(&key, case["strict"] == true);
        let [addr, src] = ["addr", "src"].map(|key| text(case, key).parse::<NetAddress>().unwrap());
        let number = |key: &str| case[key].as_u64().unwrap_or_else(|| panic!("no number {key}"));
        assert_eq!(u64::from(hash.new_bucket(&addr, &src)), number("new_bucket"), "{case}");
        assert_eq!(u64::from(hash.old_bucket(&addr)), number("old_bucket"), "{case}");
    }
}

#[test]
fn vectors_bucket_hashes() {
    let file = load("buckets.json");
    let hash_key = bytes(&file, "hash_key").try_into().expect("a hash key has 32 bytes");
    for case in cases(&file, "hashes") {
        let input = bytes(case, "input");
        let sum: Value = case["as_big_endian"].clone();
        // All of the input as the text of the key, or a part of it.
        for text in (0..=input.len()).filter_map(|n| str::from_utf8(&input[..n]).ok()) {
            let key = BookKey { text: text.to_owned(), hash: hash_key };
            let hash = BucketHash::new(&key, true).sum(&[&input[text.len()..]]);
            assert_eq!(hash.to_string(), sum, "{case}");
            assert_eq!(hash.to_be_bytes().as_slice(), bytes(case, "sum"), "{case}");
        }
    }
}
