//! Peers that are older than this client, or that do not keep to the protocol.

use std::time::Duration;

use millstream_client::{ClientConfig, Connection, Error};
use millstream_protocol::{
    ApiKey, encode_response,
    messages::{ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, api_versions_response::ApiVersion},
};
use millstream_types::codec::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::SECOND;

fn config() -> ClientConfig {
    ClientConfig { request_timeout: SECOND, ..ClientConfig::default() }
}

/// Accepts one connection and hands it to `peer`; returns what `Connection::connect` and `then` made of it.
async fn against<P, T>(
    peer: impl FnOnce(TcpStream) -> P,
    then: impl AsyncFnOnce(Result<Connection, Error>) -> T,
) -> T
where
    P: Future<Output = ()>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let config = config();
    let serve = async {
        let (socket, _) = listener.accept().await.unwrap();
        peer(socket).await;
        std::future::pending().await
    };
    let ask = async { then(Connection::connect(&address, &config).await).await };
    tokio::select! {
        () = serve => unreachable!("a peer stays until the client is done"),
        answer = ask => answer,
    }
}

/// Reads a request; its version and correlation id.
async fn request(socket: &mut TcpStream) -> (i16, i32) {
    let length = socket.read_i32().await.unwrap();
    let mut frame = vec![0; length as usize];
    socket.read_exact(&mut frame).await.unwrap();
    (i16::from_be_bytes([frame[2], frame[3]]), i32::from_be_bytes(frame[4..8].try_into().unwrap()))
}

async fn api_versions(socket: &mut TcpStream, version: i16, id: i32, error_code: i16, max_version: i16) {
    let range =
        ApiVersion { api_key: ApiKey::ApiVersions as i16, min_version: 0, max_version, ..Default::default() };
    let answer = ApiVersionsResponse { error_code, api_keys: vec![range], ..Default::default() };
    for segment in encode_response(&answer, ApiKey::ApiVersions, version, id).unwrap() {
        socket.write_all(&segment.into_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn an_older_broker_is_asked_again_in_a_version_that_it_knows() {
    let peer = async |mut socket: TcpStream| {
        let (version, id) = request(&mut socket).await;
        assert_eq!(version, ApiVersionsRequest::MAX_VERSION);
        api_versions(&mut socket, 0, id, 35, 2).await;
        let (version, id) = request(&mut socket).await;
        assert_eq!(version, 2);
        api_versions(&mut socket, 2, id, 0, 2).await;
        // Stays open, as a broker does.
        let _open = socket;
        std::future::pending().await
    };
    let connection = against(peer, async |connected| connected.unwrap()).await;
    assert_eq!(connection.broker_versions(ApiKey::ApiVersions), Some((0, 2)));
    let missing = connection.version_of::<MetadataRequest>().unwrap_err();
    assert_eq!(
        missing.to_string(),
        format!("the broker at {} does not support MetadataRequest at all", connection.address())
    );
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_given_up_after_the_request_timeout() {
    let silent = async |socket: TcpStream| {
        let _open = socket;
        std::future::pending().await
    };
    let error = against(silent, async |connected| connected.unwrap_err()).await;
    assert!(matches!(error, Error::Timeout { limit: SECOND, .. }), "{error}");
}

#[tokio::test]
async fn impossible_answers_end_the_connection_and_nothing_else() {
    let hostile: [(&[u8], &str); 5] = [
        (&[0x7f, 0xff, 0xff, 0xff], "impossible length"),
        (&[0xff, 0xff, 0xff, 0xff], "impossible length"),
        (&[0, 0, 0, 8, 0, 0, 0, 99, 0, 0, 0, 0], "out of turn"),
        (&[0, 0, 0, 2, 0, 0], "out of turn"),
        (&[0, 0, 0, 9, 0, 0, 0, 0, 0], "in the middle of an answer"),
    ];
    for (answer, reason) in hostile {
        let peer = async |mut socket: TcpStream| {
            request(&mut socket).await;
            socket.write_all(answer).await.unwrap();
            drop(socket);
        };
        let error = against(peer, async |connected| connected.unwrap_err()).await;
        assert!(matches!(error, Error::Disconnected { .. }) && error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_malformed_and_names_the_request() {
    let peer = async |mut socket: TcpStream| {
        let (_, id) = request(&mut socket).await;
        // No error, then an array that claims more than the frame has.
        let mut frame = vec![0, 0, 0, 10];
        frame.extend(id.to_be_bytes());
        frame.extend([0, 0, 0xff, 0xff, 0xff, 0x7f]);
        socket.write_all(&frame).await.unwrap();
        let _open = socket;
        std::future::pending().await
    };
    let error = against(peer, async |connected| connected.unwrap_err()).await;
    assert!(matches!(error, Error::Malformed { .. }) && error.to_string().contains("ApiVersions"), "{error}");
    assert!(!error.is_retriable());
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = Connection::connect(&address, &config()).await.unwrap_err();
    assert!(error.to_string().contains(&address) && error.is_retriable(), "{error}");
}

#[tokio::test]
async fn requests_are_pipelined_and_each_gets_its_own_answer() {
    let client = super::client();
    let connection = client.any_broker().await.unwrap();
    let names: Vec<String> = (0..50).map(|i| format!("pipelined-{i}")).collect();
    let asked = names.iter().map(|name| {
        let topic = millstream_protocol::messages::metadata_request::MetadataRequestTopic {
            name: Some(name.clone()),
            ..Default::default()
        };
        let request = MetadataRequest {
            topics: Some(vec![topic]),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let connection = connection.clone();
        tokio::spawn(async move { connection.call(&request).await.unwrap().topics.remove(0).name })
    });
    for (name, answer) in names.iter().zip(asked.collect::<Vec<_>>()) {
        let answer = tokio::time::timeout(Duration::from_secs(10), answer).await.unwrap().unwrap();
        assert_eq!(answer.as_ref(), Some(name));
    }
}

#[tokio::test]
async fn a_connection_without_requests_is_closed_after_its_time() {
    let limit = SECOND / 4;
    let config = ClientConfig { connections_max_idle: limit, ..ClientConfig::default() };
    let connection = Connection::connect(&super::BOOTSTRAP, &config).await.unwrap();
    assert!(connection.is_open());
    super::eventually(async || connection.is_open(), |open| !open).await;
    let refused = connection.call(&MetadataRequest::default()).await.unwrap_err();
    assert!(matches!(refused, Error::Disconnected { .. }), "{refused}");
}

#[tokio::test]
async fn every_address_of_a_name_is_tried() {
    // `localhost` is ::1 and 127.0.0.1 in most places; here only the latter answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("localhost:{}", listener.local_addr().unwrap().port());
    let serve = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let (version, id) = request(&mut socket).await;
        api_versions(&mut socket, version, id, 0, 4).await;
        std::future::pending::<()>().await;
    };
    let config = config();
    tokio::select! {
        () = serve => {}
        connected = Connection::connect(&address, &config) => {
            assert_eq!(connected.unwrap().address(), address);
        }
    }
}
