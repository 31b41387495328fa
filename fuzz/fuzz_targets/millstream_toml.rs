//! `millstream.toml`: any text ends in an error or in settings that make a broker or say why not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millstream_config::{BrokerConfig, BrokerLayers, from_millstream_toml};

fuzz_target!(|text: &str| {
    if let Ok((options, loaded)) = from_millstream_toml(text) {
        options.list("listen");
        drop(BrokerConfig::resolve(&BrokerLayers::fixed(loaded.settings)));
    }
});
