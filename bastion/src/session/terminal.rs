//! Encoded terminal modes (RFC 4254 §8).

use nix::sys::termios::{
    ControlFlags, InputFlags, LocalFlags, OutputFlags, SpecialCharacterIndices as Character,
    Termios,
};

use crate::sys::pty;

/// "Not a character": 255 in the encoding, `_POSIX_VDISABLE` in the terminal.
const NO_CHARACTER: u32 = 255;

/// Sets the modes that a client asks for; those that this system does not know are left.
pub(super) fn apply(modes: &mut Termios, requested: &[(u8, u32)]) {
    for &(opcode, argument) in requested {
        match opcode {
            1..=18 => set_character(modes, opcode, argument),
            30..=42 => set_input(modes, opcode, argument != 0),
            50..=62 => set_local(modes, opcode, argument != 0),
            70..=75 => set_output(modes, opcode, argument != 0),
            90..=93 => set_control(modes, opcode, argument != 0),
            // TTY_OP_OSPEED; the input speed (128) is the same on every terminal there is.
            129 => pty::set_speed(modes, argument),
            _ => {}
        }
    }
}

fn set_character(modes: &mut Termios, opcode: u8, argument: u32) {
    let character = match opcode {
        1 => Character::VINTR,
        2 => Character::VQUIT,
        3 => Character::VERASE,
        4 => Character::VKILL,
        5 => Character::VEOF,
        6 => Character::VEOL,
        7 => Character::VEOL2,
        8 => Character::VSTART,
        9 => Character::VSTOP,
        10 => Character::VSUSP,
        12 => Character::VREPRINT,
        13 => Character::VWERASE,
        14 => Character::VLNEXT,
        18 => Character::VDISCARD,
        _ => return,
    };
    let value = match argument {
        NO_CHARACTER => 0,
        other => u8::try_from(other).unwrap_or(0),
    };
    if let Some(slot) = modes.control_chars.get_mut(character as usize) {
        *slot = value;
    }
}

fn set_input(modes: &mut Termios, opcode: u8, on: bool) {
    let flag = match opcode {
        30 => InputFlags::IGNPAR,
        31 => InputFlags::PARMRK,
        32 => InputFlags::INPCK,
        33 => InputFlags::ISTRIP,
        34 => InputFlags::INLCR,
        35 => InputFlags::IGNCR,
        36 => InputFlags::ICRNL,
        38 => InputFlags::IXON,
        39 => InputFlags::IXANY,
        40 => InputFlags::IXOFF,
        41 => InputFlags::IMAXBEL,
        42 => InputFlags::IUTF8,
        _ => return,
    };
    modes.input_flags.set(flag, on);
}

fn set_local(modes: &mut Termios, opcode: u8, on: bool) {
    let flag = match opcode {
        50 => LocalFlags::ISIG,
        51 => LocalFlags::ICANON,
        53 => LocalFlags::ECHO,
        54 => LocalFlags::ECHOE,
        55 => LocalFlags::ECHOK,
        56 => LocalFlags::ECHONL,
        57 => LocalFlags::NOFLSH,
        58 => LocalFlags::TOSTOP,
        59 => LocalFlags::IEXTEN,
        60 => LocalFlags::ECHOCTL,
        61 => LocalFlags::ECHOKE,
        62 => LocalFlags::PENDIN,
        _ => return,
    };
    modes.local_flags.set(flag, on);
}

fn set_output(modes: &mut Termios, opcode: u8, on: bool) {
    let flag = match opcode {
        70 => OutputFlags::OPOST,
        72 => OutputFlags::ONLCR,
        73 => OutputFlags::OCRNL,
        74 => OutputFlags::ONOCR,
        75 => OutputFlags::ONLRET,
        _ => return,
    };
    modes.output_flags.set(flag, on);
}

fn set_control(modes: &mut Termios, opcode: u8, on: bool) {
    let (flag, group) = match opcode {
        90 => (ControlFlags::CS7, ControlFlags::CSIZE),
        91 => (ControlFlags::CS8, ControlFlags::CSIZE),
        92 => (ControlFlags::PARENB, ControlFlags::PARENB),
        93 => (ControlFlags::PARODD, ControlFlags::PARODD),
        _ => return,
    };
    // CS7 and CS8 are values of one field, not two flags: off says nothing.
    if on {
        modes.control_flags.remove(group);
        modes.control_flags.insert(flag);
    } else if group == flag {
        modes.control_flags.remove(flag);
    }
}
