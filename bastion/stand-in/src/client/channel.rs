//! Channels, their windows and their events (RFC 4254 section 5).

use super::{Client, Error};
use crate::message::{
    SSH_MSG_CHANNEL_CLOSE, SSH_MSG_CHANNEL_DATA, SSH_MSG_CHANNEL_EOF,
    SSH_MSG_CHANNEL_EXTENDED_DATA, SSH_MSG_CHANNEL_FAILURE, SSH_MSG_CHANNEL_OPEN,
    SSH_MSG_CHANNEL_OPEN_CONFIRMATION, SSH_MSG_CHANNEL_OPEN_FAILURE, SSH_MSG_CHANNEL_REQUEST,
    SSH_MSG_CHANNEL_SUCCESS, SSH_MSG_CHANNEL_WINDOW_ADJUST,
};
use crate::strict::Violation;
use crate::wire::{Malformed, Reader, Writer};
use bytes::Bytes;
use std::collections::VecDeque;

/// What happens on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelEvent {
    /// SSH_MSG_CHANNEL_DATA.
    Data(Bytes),
    /// SSH_MSG_CHANNEL_EXTENDED_DATA with its type code; 1 is stderr.
    ExtendedData(u32, Bytes),
    /// SSH_MSG_CHANNEL_EOF.
    Eof,
    /// SSH_MSG_CHANNEL_CLOSE.
    Close,
    /// The request "exit-status".
    ExitStatus(u32),
    /// The request "exit-signal".
    ExitSignal {
        /// Without "SIG".
        name: String,
        /// "core dumped".
        core_dumped: bool,
        /// "error message".
        message: String,
    },
    /// Any other request of the server.
    Request {
        /// Its type.
        name: String,
        /// Whether it wants a reply.
        want_reply: bool,
        /// What follows.
        fields: Bytes,
    },
    /// SSH_MSG_CHANNEL_WINDOW_ADJUST.
    WindowAdjust(u32),
}

/// SSH_MSG_CHANNEL_OPEN_FAILURE.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{description} (reason {reason})")]
pub struct OpenFailure {
    /// RFC 4254 section 5.1.
    pub reason: u32,
    /// What the server says.
    pub description: String,
}

/// Our side of a channel.
#[derive(Default)]
pub(super) struct Channel {
    pub(super) remote: u32,
    /// What the server lets us send.
    pub(super) remote_window: u64,
    pub(super) remote_max_packet: u32,
    /// What we let the server send.
    local_window: u64,
    opened: Option<Result<(), OpenFailure>>,
    pub(super) events: VecDeque<ChannelEvent>,
    replies: VecDeque<bool>,
    pub(super) sent_eof: bool,
    sent_close: bool,
}

impl Client {
    /// Opens a session.
    pub async fn open_session(&mut self) -> Result<u32, Error> {
        self.open("session", &[]).await
    }

    /// Opens a channel; `fields` follow the maximum packet size. Returns our number for it.
    pub async fn open(&mut self, kind: &str, fields: &[u8]) -> Result<u32, Error> {
        let id = self.next_channel;
        self.next_channel += 1;
        let (window, max_packet) = (self.options.window, self.options.max_packet);
        let open = Writer::message(SSH_MSG_CHANNEL_OPEN)
            .string(kind)
            .u32(id)
            .u32(window);
        let channel = Channel {
            local_window: window.into(),
            ..Channel::default()
        };
        self.channels.insert(id, channel);
        self.send(&open.u32(max_packet).bytes(fields).into_vec())
            .await?;
        loop {
            if let Some(opened) = self.channel(id)?.opened.clone() {
                return opened.map(|()| id).map_err(Error::OpenFailure);
            }
            self.pump().await?;
        }
    }

    /// Sends a channel request without waiting for anything.
    pub async fn send_request(
        &mut self,
        id: u32,
        name: &str,
        fields: &[u8],
        want_reply: bool,
    ) -> Result<(), Error> {
        let remote = self.channel(id)?.remote;
        let request = Writer::message(SSH_MSG_CHANNEL_REQUEST)
            .u32(remote)
            .string(name);
        self.send(&request.bool(want_reply).bytes(fields).into_vec())
            .await
    }

    /// Sends a channel request that wants a reply, and waits for it: SUCCESS or FAILURE.
    pub async fn request(&mut self, id: u32, name: &str, fields: &[u8]) -> Result<bool, Error> {
        self.send_request(id, name, fields, true).await?;
        self.reply(id).await
    }

    /// Waits for the reply to the oldest request without one.
    pub async fn reply(&mut self, id: u32) -> Result<bool, Error> {
        loop {
            if let Some(reply) = self.channel(id)?.replies.pop_front() {
                return Ok(reply);
            }
            self.pump().await?;
        }
    }

    /// The next event of a channel. After [`ChannelEvent::Close`] there is none: the server's CLOSE
    /// has been answered by then.
    pub async fn event(&mut self, id: u32) -> Result<ChannelEvent, Error> {
        loop {
            if let Some(event) = self.channel(id)?.events.pop_front() {
                return Ok(event);
            }
            self.pump().await?;
        }
    }

    /// The server's number for a channel, for messages that are made by hand.
    pub fn remote_number(&mut self, id: u32) -> Result<u32, Error> {
        Ok(self.channel(id)?.remote)
    }

    /// What the server lets us send on a channel at the moment.
    pub fn send_window(&mut self, id: u32) -> Result<u64, Error> {
        Ok(self.channel(id)?.remote_window)
    }

    /// Sends as much of `data` as fits into the window and one packet; returns how much.
    pub fn try_send_data(&mut self, id: u32, data: &[u8]) -> Result<usize, Error> {
        let channel = self.channel(id)?;
        let most = channel.remote_window.min(channel.remote_max_packet.into());
        let len = data.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        if len == 0 {
            return Ok(0);
        }
        channel.remote_window -= len as u64;
        let remote = channel.remote.to_be_bytes();
        let length = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
        let head = [&[SSH_MSG_CHANNEL_DATA][..], &remote, &length].concat();
        self.transport
            .send_parts(&[&head, data.get(..len).unwrap_or_default()])?;
        Ok(len)
    }

    /// Sends all of `data`, waiting for the window where it must.
    pub async fn send_data(&mut self, id: u32, mut data: &[u8]) -> Result<(), Error> {
        while !data.is_empty() {
            let sent = self.try_send_data(id, data)?;
            data = data.get(sent..).unwrap_or_default();
            if sent == 0 || !self.transport.has_room() {
                self.pump().await?;
            }
        }
        self.flush().await
    }

    /// Lets the server send `n` more bytes.
    pub async fn adjust_window(&mut self, id: u32, n: u32) -> Result<(), Error> {
        let channel = self.channel(id)?;
        channel.local_window += u64::from(n);
        let remote = channel.remote;
        let adjust = Writer::message(SSH_MSG_CHANNEL_WINDOW_ADJUST)
            .u32(remote)
            .u32(n);
        self.send(&adjust.into_vec()).await
    }

    /// SSH_MSG_CHANNEL_EOF.
    pub async fn eof(&mut self, id: u32) -> Result<(), Error> {
        let channel = self.channel(id)?;
        channel.sent_eof = true;
        let remote = channel.remote;
        let eof = Writer::message(SSH_MSG_CHANNEL_EOF).u32(remote);
        self.send(&eof.into_vec()).await
    }

    /// SSH_MSG_CHANNEL_CLOSE, unless it is sent already.
    pub async fn close(&mut self, id: u32) -> Result<(), Error> {
        self.queue_close(id)?;
        self.flush().await
    }

    fn queue_close(&mut self, id: u32) -> Result<(), Error> {
        let channel = self.channel(id)?;
        let remote = channel.remote;
        if std::mem::replace(&mut channel.sent_close, true) {
            return Ok(());
        }
        self.queue(
            &Writer::message(SSH_MSG_CHANNEL_CLOSE)
                .u32(remote)
                .into_vec(),
        )
    }

    pub(super) fn channel(&mut self, id: u32) -> Result<&mut Channel, Error> {
        self.channels.get_mut(&id).ok_or(Error::NoChannel(id))
    }

    pub(super) fn take_channel_message(
        &mut self,
        number: u8,
        payload: &Bytes,
    ) -> Result<(), Error> {
        let malformed = |source: Malformed| Violation::Malformed { number, source };
        let mut reader = Reader::new(payload);
        let id = reader.u8().and_then(|_| reader.u32()).map_err(malformed)?;
        let unknown = Violation::UnknownChannel {
            channel: id,
            number,
        };
        let channel = self.channels.get_mut(&id).ok_or(unknown)?;
        match number {
            SSH_MSG_CHANNEL_OPEN_CONFIRMATION => {
                channel.remote = reader.u32().map_err(malformed)?;
                channel.remote_window = reader.u32().map_err(malformed)?.into();
                channel.remote_max_packet = reader.u32().map_err(malformed)?;
                channel.opened = Some(Ok(()));
            }
            SSH_MSG_CHANNEL_OPEN_FAILURE => {
                let reason = reader.u32().map_err(malformed)?;
                let description = reader.text().map_err(malformed)?.to_owned();
                channel.opened = Some(Err(OpenFailure {
                    reason,
                    description,
                }));
            }
            SSH_MSG_CHANNEL_WINDOW_ADJUST => {
                let n = reader.u32().map_err(malformed)?;
                channel.remote_window += u64::from(n);
                channel.events.push_back(ChannelEvent::WindowAdjust(n));
            }
            SSH_MSG_CHANNEL_DATA => {
                let data = payload.slice_ref(reader.string().map_err(malformed)?);
                self.take_data(id, data.len(), ChannelEvent::Data(data))?;
            }
            SSH_MSG_CHANNEL_EXTENDED_DATA => {
                let code = reader.u32().map_err(malformed)?;
                let data = payload.slice_ref(reader.string().map_err(malformed)?);
                self.take_data(id, data.len(), ChannelEvent::ExtendedData(code, data))?;
            }
            SSH_MSG_CHANNEL_EOF => channel.events.push_back(ChannelEvent::Eof),
            SSH_MSG_CHANNEL_CLOSE => {
                channel.events.push_back(ChannelEvent::Close);
                self.queue_close(id)?;
            }
            SSH_MSG_CHANNEL_REQUEST => {
                let event = request_event(payload, reader).map_err(malformed)?;
                channel.events.push_back(event);
            }
            SSH_MSG_CHANNEL_SUCCESS => channel.replies.push_back(true),
            SSH_MSG_CHANNEL_FAILURE => channel.replies.push_back(false),
            _ => return Err(Error::Unexpected(number)),
        }
        Ok(())
    }

    fn take_data(&mut self, id: u32, len: usize, event: ChannelEvent) -> Result<(), Error> {
        let (window, max_packet) = (self.options.window, self.options.max_packet);
        let automatic = self.options.automatic_window;
        let channel = self.channel(id)?;
        let (sent, allowed) = (len as u64, channel.local_window.min(max_packet.into()));
        channel.local_window = channel
            .local_window
            .checked_sub(sent)
            .filter(|_| sent <= allowed)
            .ok_or(Error::Window {
                channel: id,
                sent,
                allowed,
            })?;
        channel.events.push_back(event);
        let missing = u64::from(window).saturating_sub(channel.local_window);
        if automatic && missing > u64::from(window / 2) && !channel.sent_close {
            channel.local_window += missing;
            let n = u32::try_from(missing).unwrap_or(u32::MAX);
            let remote = channel.remote;
            let adjust = Writer::message(SSH_MSG_CHANNEL_WINDOW_ADJUST)
                .u32(remote)
                .u32(n);
            self.queue(&adjust.into_vec())?;
        }
        Ok(())
    }
}

fn request_event(payload: &Bytes, mut reader: Reader<'_>) -> Result<ChannelEvent, Malformed> {
    let name = reader.text()?.to_owned();
    let want_reply = reader.bool()?;
    Ok(match name.as_str() {
        "exit-status" => ChannelEvent::ExitStatus(reader.u32()?),
        "exit-signal" => ChannelEvent::ExitSignal {
            name: reader.text()?.to_owned(),
            core_dumped: reader.bool()?,
            message: reader.text()?.to_owned(),
        },
        _ => ChannelEvent::Request {
            name,
            want_reply,
            fields: payload.slice_ref(reader.rest()),
        },
    })
}
