//! Much data, with new keys all the time.

use pomerium_stand_in::client::{ChannelEvent, Options};
use pomerium_stand_in::wire::Writer;

use crate::support::Server;
use crate::{log_in, run};

/// In bytes; the whole gigabyte of a large file takes an optimized build.
const MUCH: usize = if cfg!(debug_assertions) {
    64 << 20
} else {
    1 << 30
};

#[test]
fn much_data_each_way_with_new_keys_by_the_client() {
    let server = Server::start();
    run(async {
        let mut client = log_in(&server, Options::pomerium().rekey_after(16 << 20)).await;
        let id = client.open_session().await.unwrap();
        let command = Writer::new()
            .string(format!("head -c {MUCH} /dev/zero").as_str())
            .into_vec();
        assert!(client.request(id, "exec", &command).await.unwrap());
        let (mut received, mut longest) = (0, 0);
        client
            .transact(id, std::iter::empty(), |event| {
                if let ChannelEvent::Data(data) = event {
                    received += data.len();
                    longest = longest.max(data.len());
                }
            })
            .await
            .unwrap();
        assert_eq!(received, MUCH);
        // Pomerium can stall on a packet of more than 16 KiB.
        assert!(longest <= 15 * 1024, "{longest}");
        let id = client.open_session().await.unwrap();
        assert!(
            client
                .request(id, "exec", &Writer::new().string("wc -c").into_vec())
                .await
                .unwrap()
        );
        let chunk = bytes::Bytes::from(vec![1; 1 << 20]);
        let mut counted = Vec::new();
        let input = std::iter::repeat_n(chunk, MUCH >> 20);
        client
            .transact(id, input, |event| {
                if let ChannelEvent::Data(data) = event {
                    counted.extend_from_slice(data);
                }
            })
            .await
            .unwrap();
        assert_eq!(counted, format!("{MUCH}\n").into_bytes());
    });
}

#[test]
fn new_keys_after_every_few_bytes() {
    let server = Server::start();
    run(async {
        // The least that Pomerium can be set to.
        let mut client = log_in(&server, Options::pomerium().rekey_after(256)).await;
        let output = client.exec_with_input("cat", &[5; 20_000]).await.unwrap();
        assert_eq!((output.stdout.len(), output.exit_status), (20_000, Some(0)));
    });
}
