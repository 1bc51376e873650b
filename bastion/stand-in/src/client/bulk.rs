//! Whole programs: input in, output and exit out, of any size.

use super::{ChannelEvent, Client, Error};
use crate::message::SSH_EXTENDED_DATA_STDERR;
use crate::wire::Writer;
use bytes::Bytes;

/// What a program left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// "exit-status".
    pub exit_status: Option<u32>,
    /// The signal of "exit-signal", without "SIG".
    pub exit_signal: Option<String>,
}

impl Client {
    /// Runs a command with no input.
    pub async fn exec(&mut self, command: &str) -> Result<Output, Error> {
        self.exec_with_input(command, &[]).await
    }

    /// Runs a command, with `input` on its standard input, then EOF.
    pub async fn exec_with_input(&mut self, command: &str, input: &[u8]) -> Result<Output, Error> {
        let id = self.open_session().await?;
        if !self
            .request(id, "exec", &Writer::new().string(command).into_vec())
            .await?
        {
            return Err(Error::Refused("exec".to_owned()));
        }
        let mut output = Output::default();
        let chunks = input.chunks(1 << 20).map(Bytes::copy_from_slice);
        self.transact(id, chunks, |event| match event {
            ChannelEvent::Data(data) => output.stdout.extend_from_slice(data),
            ChannelEvent::ExtendedData(SSH_EXTENDED_DATA_STDERR, data) => {
                output.stderr.extend_from_slice(data);
            }
            ChannelEvent::ExitStatus(status) => output.exit_status = Some(*status),
            ChannelEvent::ExitSignal { name, .. } => output.exit_signal = Some(name.clone()),
            _ => {}
        })
        .await?;
        Ok(output)
    }

    /// Sends `input` and EOF (unless it is sent already) on a channel while events go to `sink`, until the server's CLOSE.
    /// Sending and receiving go on at the same time; neither waits for the other.
    pub async fn transact(
        &mut self,
        id: u32,
        mut input: impl Iterator<Item = Bytes>,
        mut sink: impl FnMut(&ChannelEvent),
    ) -> Result<(), Error> {
        let mut chunk = Bytes::new();
        let mut sending = true;
        loop {
            while let Some(event) = self.channel(id)?.events.pop_front() {
                sink(&event);
                if event == ChannelEvent::Close {
                    return self.flush().await;
                }
            }
            while sending && self.transport.has_room() {
                if chunk.is_empty() {
                    let Some(next) = input.next() else {
                        sending = false;
                        if !self.channel(id)?.sent_eof {
                            self.eof(id).await?;
                        }
                        break;
                    };
                    chunk = next;
                }
                let sent = self.try_send_data(id, &chunk)?;
                drop(chunk.split_to(sent));
                if sent == 0 && !chunk.is_empty() {
                    break;
                }
            }
            self.pump().await?;
        }
    }
}
