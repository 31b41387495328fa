//! `server.properties`, Java's syntax: any text ends in an error or in settings that make a broker or say why not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millstream_config::{BrokerConfig, BrokerLayers, from_server_properties};

fuzz_target!(|text: &str| {
    if let Ok(loaded) = from_server_properties(text) {
        drop(BrokerConfig::resolve(&BrokerLayers::fixed(loaded.settings)));
    }
});
