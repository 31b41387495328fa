//! Real clients go through the cases of `millstream_conformance::cases`.

use millstream_conformance::{
    clients::{Client, Tier},
    stored::batch_headers,
};
use millstream_record::Compression;
use millstream_testkit::{Kind, Running, Target, skip};

/// Runs the client named, unless it belongs to a later tier, and demands that all went as expected.
fn judge(name: &str) {
    let client = Client::named(name).unwrap();
    if client.tier > Tier::from_env().unwrap() {
        eprintln!("{name} belongs to MILLSTREAM_TIER=conformance");
        return;
    }
    if let Some(missing) = client.missing().unwrap() {
        return skip(name, &missing);
    }
    let target = Target::start(client.target(Kind::from_env().unwrap())).unwrap();
    let outcomes = client.run(target.bootstrap()).unwrap();
    let complaints = client.complaints(&outcomes);
    assert!(complaints.is_empty(), "{}:\n{}", client.title, complaints.join("\n"));
    batches_were_stored_as_the_client_compressed_them(&target, name);
}

/// The topic `NAME-codec-CODEC` has one partition for each value of acks.
fn batches_were_stored_as_the_client_compressed_them(target: &Running, name: &str) {
    for codec in Compression::ALL {
        for partition in 0..3 {
            let topic = format!("{name}-codec-{}", codec.name());
            let headers = batch_headers(&target.log_dir(), &topic, partition).unwrap();
            let stored: Vec<_> = headers.iter().map(|h| h.attributes.compression().unwrap()).collect();
            assert!(
                !stored.is_empty() && stored.iter().all(|c| *c == codec),
                "{topic}-{partition}: {stored:?}"
            );
        }
    }
}

#[test]
fn kafka_python_3_goes_through_every_case() {
    judge("kafka-python");
}

#[test]
fn confluent_kafka_goes_through_every_case() {
    judge("confluent-kafka");
}

#[test]
fn kafkas_own_java_client_goes_through_every_case() {
    judge("java");
}

#[test]
fn franz_go_goes_through_every_case() {
    judge("franz-go");
}

#[test]
fn kafkajs_goes_through_every_case() {
    judge("kafkajs");
}

#[test]
fn kafka_python_2_goes_through_every_case() {
    judge("kafka-python-2");
}

#[test]
fn aiokafka_goes_through_every_case() {
    judge("aiokafka");
}

#[test]
fn the_java_client_of_2_8_goes_through_every_case() {
    judge("java-2.8");
}

#[test]
fn sarama_goes_through_every_case() {
    judge("sarama");
}

#[test]
fn kcat_goes_through_every_case_that_a_command_line_can() {
    judge("kcat");
}
