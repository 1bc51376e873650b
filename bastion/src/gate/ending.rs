//! How a program's channel ends (RFC 4254 §5.3, §6.10): its output and itself, each told when it is
//! over.

use std::time::Duration;

use russh::server::Handle;
use russh::{ChannelId, Sig};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::ipc::ProgramEnd;

/// The end of a program and that of its output usually come together, and are told together, the
/// output first. This long each waits for the other: a program may close its output and live on, and
/// leave others behind that hold it open.
const TOGETHER: Duration = Duration::from_millis(250);

/// Tells a client of an end. Where the connection is gone, there is nobody to tell.
pub(super) struct Ending<'a> {
    pub(super) handle: &'a Handle,
    pub(super) id: ChannelId,
    /// Told when the program has ended.
    pub(super) last_call: &'a Notify,
}

impl Ending<'_> {
    /// Tells the client when all that the program wrote was sent, how it ended, and that the channel
    /// is closed. `false` when its channel was idle for too long, and nothing more is sent.
    pub(super) async fn tell_unless_idle(
        &self,
        mut drains: Vec<JoinHandle<()>>,
        ended: oneshot::Receiver<ProgramEnd>,
        idle_for_too_long: impl Future<Output = ()>,
    ) -> bool {
        tokio::select! {
            () = self.tell(&mut drains, ended) => return true,
            () = idle_for_too_long => {}
        }
        drains.iter().for_each(JoinHandle::abort);
        // One that has ended was awaited already, perhaps, and must not be again.
        for drain in drains.into_iter().filter(|drain| !drain.is_finished()) {
            let _aborted = drain.await;
        }
        false
    }

    async fn tell(&self, drains: &mut [JoinHandle<()>], mut ended: oneshot::Receiver<ProgramEnd>) {
        let drained = async {
            for drain in drains {
                // Ends in no other way than by itself or with this task.
                let _ended = drain.await;
            }
        };
        tokio::pin!(drained);
        tokio::select! {
            () = &mut drained => {
                let soon = timeout(TOGETHER, &mut ended).await;
                self.no_more_output().await;
                let end = match soon {
                    Ok(end) => end,
                    Err(_) => ended.await,
                };
                self.ended(end.ok()).await;
            }
            end = &mut ended => {
                self.last_call.notify_one();
                let soon = timeout(TOGETHER, &mut drained).await;
                if soon.is_ok() {
                    self.no_more_output().await;
                    self.ended(end.ok()).await;
                } else {
                    self.ended(end.ok()).await;
                    drained.await;
                    self.no_more_output().await;
                }
            }
        }
        let _gone = self.handle.close(self.id).await;
    }

    async fn no_more_output(&self) {
        let _gone = self.handle.eof(self.id).await;
    }

    async fn ended(&self, end: Option<ProgramEnd>) {
        let (handle, id) = (self.handle, self.id);
        let _gone = match end {
            Some(ProgramEnd::Status(status)) => handle.exit_status_request(id, status).await,
            Some(ProgramEnd::Signal { name, core_dumped }) => {
                let none = String::new;
                let signal = Sig::Custom(name);
                handle
                    .exit_signal_request(id, signal, core_dumped, none(), none())
                    .await
            }
            // The session process went first; its connection ends with it.
            None => Ok(()),
        };
    }
}
