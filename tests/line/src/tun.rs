//! A TUN device: what the kernel sends through it is read here, what is written here the kernel has
//! received from it. One packet a call.

use std::{
    ffi::CStr,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd},
};

use rustix::ioctl::{self, Opcode, Updater};

/// `TUNSETIFF` of linux/if_tun.h.
const SET_INTERFACE: Opcode = ioctl::opcode::write::<i32>(b'T', 202);
/// `IFF_TUN | IFF_NO_PI`: IP packets and nothing before them.
const FLAGS: i16 = 0x0001 | 0x1000;

/// `struct ifreq` of linux/if.h: what this call reads and writes of it, and its size.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; 16],
    flags: i16,
    rest: [u8; 22],
}

/// An open device; it goes when this does.
#[derive(Debug)]
pub(crate) struct Tun {
    file: File,
    name: String,
}

impl Tun {
    /// A new one in this process's namespace, down and without an address.
    pub(crate) fn open() -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
        // The kernel puts the first number for it that is free.
        let mut request = InterfaceRequest { name: [0; 16], flags: FLAGS, rest: [0; 22] };
        request.name[..6].copy_from_slice(b"line%d");
        // SAFETY: the call takes a `struct ifreq`, which this is in size and layout, and keeps no
        // pointer to it.
        unsafe { ioctl::ioctl(&file, Updater::<SET_INTERFACE, _>::new(&mut request))? };
        let name = CStr::from_bytes_until_nul(&request.name).map_err(io::Error::other)?;
        let name = name.to_str().map_err(io::Error::other)?.to_owned();
        Ok(Self { file, name })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The next packet; waits for it.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.file).read(buffer)
    }

    pub(crate) fn write(&self, packet: &[u8]) -> io::Result<()> {
        (&self.file).write(packet).map(|_| ())
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
