//! Peers that are slow on purpose: they send a byte at a time, half a request, or never read an answer.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use millstream_protocol::{
    encode_request,
    messages::{FetchRequest, MetadataRequest},
};
use millstream_record::batch::batches;
use millstream_testkit::{Connection, Running, TargetOptions};
use millstream_types::{ErrorCode, codec::Reader};

use super::{Siege, is_too_much_for_the_target, scaled};
use crate::session::{Session, batch, code, fetch_request};

/// How long a peer goes on trying to send what the broker does not take.
const STUCK: Duration = Duration::from_millis(100);
const TOPIC: &str = "slow";
const VALUE_BYTES: usize = 1_000_000;
const VALUES: usize = 20;

fn connect(target: &Running) -> TcpStream {
    let stream = TcpStream::connect(target.bootstrap()).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_write_timeout(Some(STUCK)).unwrap();
    stream
}

/// Sends as much as the broker takes.
fn pour(stream: &mut TcpStream, bytes: &[u8]) {
    match stream.write_all(bytes) {
        Ok(()) => {}
        Err(error) => {
            let refused = [
                ErrorKind::WouldBlock,
                ErrorKind::TimedOut,
                ErrorKind::ConnectionReset,
                ErrorKind::BrokenPipe,
            ];
            assert!(refused.contains(&error.kind()), "{error}");
        }
    }
}

#[test]
fn requests_that_come_a_byte_at_a_time_are_answered() {
    let siege = Siege::begin("a byte at a time", TargetOptions::default());
    siege.attack(|target| {
        let request = encode_request(&MetadataRequest::default(), 12, 7, Some("slow")).unwrap();
        let frame: Vec<u8> = request.into_iter().collect::<Vec<_>>().concat();
        let mut connections: Vec<Connection> =
            (0..scaled(100)).map(|_| Connection::open(target.bootstrap()).unwrap()).collect();
        for byte in &frame {
            connections.iter_mut().for_each(|c| c.send_bytes(std::slice::from_ref(byte)).unwrap());
        }
        for connection in &mut connections {
            assert!(!connection.receive::<MetadataRequest>(12).unwrap().1.brokers.is_empty());
        }
    });
}

#[test]
fn half_of_many_large_requests_is_not_all_held_and_whole_ones_are_served() {
    if is_too_much_for_the_target("half_of_many_large_requests_is_not_all_held_and_whole_ones_are_served") {
        return;
    }
    let siege = Siege::begin("half of large requests", TargetOptions::default());
    let mut session = Session::open(&siege.target);
    session.topic(TOPIC, &[("max.message.bytes", "33554432")]);
    let half = [&50_000_000_i32.to_be_bytes()[..], &[0, 0, 0, 9], &vec![0; 8_000_000]].concat();
    let held = siege.attack(|target| {
        let mut held: Vec<TcpStream> = (0..scaled(20)).map(|_| connect(target)).collect();
        held.iter_mut().for_each(|stream| pour(stream, &half));
        for bytes in [100_000, 10_000_000] {
            let answer = session.produce(TOPIC, 0, batch(&[vec![b'x'; bytes]]));
            assert_eq!(code(answer.error_code), ErrorCode::None, "a request of {bytes} bytes");
        }
        held
    });
    drop(held);
}

#[test]
fn answers_that_nobody_reads_are_not_all_held_and_whoever_reads_gets_them_whole() {
    let siege = Siege::begin("answers that nobody reads", TargetOptions::default());
    let mut session = Session::open(&siege.target);
    session.topic(TOPIC, &[]);
    for _ in 0..VALUES {
        session.append(TOPIC, 0, batch(&[[b'x'; VALUE_BYTES]]));
    }
    let request = encode_request(&fetch_request(TOPIC, &[(0, 0)]), 12, 7, Some("deaf")).unwrap();
    let frame: Vec<u8> = request.into_iter().collect::<Vec<_>>().concat();
    let held = siege.attack(|target| {
        let mut held: Vec<TcpStream> = (0..scaled(20)).map(|_| connect(target)).collect();
        for _ in 0..3 {
            held.iter_mut().for_each(|stream| pour(stream, &frame));
        }
        // Somebody who reads is served all of it, in as many answers as it takes.
        let mut reader = Connection::open(target.bootstrap()).unwrap();
        let mut offset = 0;
        while offset < VALUES as i64 {
            let (_, fetched) = {
                reader.send(12, &fetch_request(TOPIC, &[(0, offset)])).unwrap();
                reader.receive::<FetchRequest>(12).unwrap()
            };
            let records = fetched.responses[0].partitions[0].records.clone().unwrap_or_default().into_bytes();
            let next = batches(&records).map(|b| b.unwrap().header.next_offset().0).last();
            offset = next.expect("a fetch that has something to return returns something");
        }
        held
    });
    let answers: Vec<Bytes> = held.into_iter().filter_map(answer).collect();
    for answer in &answers {
        let mut reader = Reader::new(answer.slice(4..));
        let header = reader.i32().unwrap();
        assert_eq!((header, reader.u8()), (7, Ok(0)), "correlation id, tagged fields");
        let response = millstream_protocol::messages::FetchResponse::read(&mut reader, 12).unwrap();
        assert!(reader.is_empty());
        let records = response.responses[0].partitions[0].records.clone().unwrap_or_default().into_bytes();
        assert!(
            batches(&records).map(Result::unwrap).all(|batch| batch.header.verify_crc(batch.bytes).is_ok())
        );
    }
    eprintln!("hostile: {} of {} late readers got their answer", answers.len(), scaled(20));
}

/// The first answer on a connection that was not closed meanwhile.
fn answer(mut stream: TcpStream) -> Option<Bytes> {
    let mut bytes = BytesMut::zeroed(4);
    stream.read_exact(&mut bytes).ok()?;
    let length = usize::try_from(i32::from_be_bytes(*bytes.first_chunk()?)).unwrap();
    bytes.resize(4 + length, 0);
    stream.read_exact(&mut bytes[4..]).ok()?;
    Some(bytes.freeze())
}
