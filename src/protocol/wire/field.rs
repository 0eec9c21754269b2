//! The fields of one complete Protocol Buffers message.

use super::put_varint;

/// Iterates over the fields of a message in the order in which they were sent, unknown ones
/// included: the reader matches on [`Field::number`] and passes over what it does not know.
///
/// Takes what the code takes that gogoproto generates for Go (`Unmarshal` and `skip` of any
/// `*.pb.go`), and refuses what that refuses: bits of a number above the 64th are dropped, only the
/// lowest 32 bits of a field number count, and of a group only its kinds of values and its depth are
/// looked at. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of the message whose bytes, without a length prefix, are `message`.
    pub const fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// Reads to the end: whether it is a message, whatever is in it.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn check(mut self) -> Result<(), DecodeError> {
        self.try_for_each(|field| field.map(drop))
    }

    fn next_field(&mut self) -> Result<Field<'a>, DecodeError> {
        let key = self.varint()?;
        let (number, wire_type) = ((key >> 3) as i32, (key & 7) as u8);
        if wire_type == 4 {
            return Err(DecodeError::EndGroup);
        }
        if number < 1 {
            return Err(DecodeError::FieldNumber(number));
        }
        let value = match wire_type {
            0 => match self.number()? {
                (value, true) => Value::Cut(value),
                (value, false) => Value::Varint(value),
            },
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => Value::Bytes(self.length_delimited()?),
            3 => {
                self.skip_group()?;
                Value::Group
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            other => return Err(DecodeError::WireType(other)),
        };
        Ok(Field { number: number as u32, value })
    }

    /// Passes over the rest of a group. Counts the depth instead of recursing: depth is the
    /// peer's choice, our stack is not.
    fn skip_group(&mut self) -> Result<(), DecodeError> {
        let mut depth = 1_usize;
        while depth > 0 {
            match (self.varint()? & 7) as u8 {
                0 => drop(self.varint()?),
                1 => drop(self.array::<8>()?),
                2 => drop(self.length_delimited()?),
                3 => depth = depth.saturating_add(1),
                4 => depth = depth.saturating_sub(1),
                5 => drop(self.array::<4>()?),
                other => return Err(DecodeError::WireType(other)),
            }
        }
        Ok(())
    }

    /// A number, and whether bits of it were dropped.
    fn number(&mut self) -> Result<(u64, bool), DecodeError> {
        let mut value = 0;
        // Ten bytes, of whose last only one bit finds room.
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((value, shift == 63 && byte > 1));
            }
        }
        Err(DecodeError::Varint)
    }

    fn varint(&mut self) -> Result<u64, DecodeError> {
        self.number().map(|(value, _)| value)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }

    fn length_delimited(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = usize::try_from(self.varint()?).map_err(|_| DecodeError::Truncated)?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.next_field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// One field as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Which field of the message, 1 to 2^31 − 1.
    pub number: u32,
    /// What was sent for it.
    pub value: Value<'a>,
}

impl<'a> Field<'a> {
    /// The value of a field that is text, bytes or a message.
    ///
    /// # Errors
    /// [`DecodeError::WrongType`] if it was sent as something else.
    pub const fn bytes(&self) -> Result<&'a [u8], DecodeError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(DecodeError::WrongType(self.number)),
        }
    }

    /// The value of a field that is a number of variable length, or a bool.
    ///
    /// # Errors
    /// [`DecodeError::WrongType`] if it was sent as something else.
    pub const fn varint(&self) -> Result<u64, DecodeError> {
        match self.value {
            Value::Varint(value) | Value::Cut(value) => Ok(value),
            _ => Err(DecodeError::WrongType(self.number)),
        }
    }

    /// The same where a number that loses bits would stand for another thing.
    ///
    /// # Errors
    /// As [`varint`](Self::varint), and [`DecodeError::Varint`] if it has more than 64 bits.
    pub const fn whole_varint(&self) -> Result<u64, DecodeError> {
        match self.value {
            Value::Cut(_) => Err(DecodeError::Varint),
            _ => self.varint(),
        }
    }
}

/// The value of a field, by the way it was encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number of variable length.
    Varint(u64),
    /// What is left of one with more than 64 bits.
    Cut(u64),
    /// Eight bytes, little-endian.
    Fixed64(u64),
    /// Bytes, text or a nested message, without the length.
    Bytes(&'a [u8]),
    /// A group, an obsolete way of nesting, with whatever was inside.
    Group,
    /// Four bytes, little-endian.
    Fixed32(u32),
}

/// Why bytes are no Protocol Buffers message. The peer is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A group ends that never began.
    #[error("end of a group that never began")]
    EndGroup,
    /// A field number below 1.
    #[error("field number {0}")]
    FieldNumber(i32),
    /// The message ends inside a field.
    #[error("message is cut off inside a field")]
    Truncated,
    /// A number has more than ten bytes, or more than 64 bits where that is an error.
    #[error("number of more than 64 bits")]
    Varint,
    /// A wire type that does not exist: 6 or 7.
    #[error("unknown wire type {0}")]
    WireType(u8),
    /// A known field was sent with another wire type than its own.
    #[error("field {0} has the wrong wire type")]
    WrongType(u32),
}

/// Appends a number, unless it is 0, which proto3 leaves out.
pub fn put_varint_field(number: u32, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        put_varint(u64::from(number) << 3, out);
        put_varint(value, out);
    }
}

/// Appends bytes or text, unless there is nothing in it, which proto3 leaves out.
pub fn put_bytes_field(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    if !bytes.is_empty() {
        put_message_field(number, bytes, out);
    }
}

/// Appends an encoded message, even if there is nothing in it.
pub fn put_message_field(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | 2, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(message: &[u8]) -> Result<Vec<Field<'_>>, DecodeError> {
        Fields::new(message).collect()
    }

    /// One field of each kind, with a group that holds all kinds itself.
    const ALL: &[u8] = &[
        0x08, 0x96, 0x01, // 1: varint 150
        0x11, 1, 2, 3, 4, 5, 6, 7, 8, // 2: fixed64
        0x1a, 2, 0xaa, 0xbb, // 3: two bytes
        0x23, 0x08, 1, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0x1a, 1, 0, 0x2b, 0x2c, 0x35, 0, 0, 0, 0,
        0x24, // 4: group
        0x2d, 1, 0, 0, 0, // 5: fixed32
    ];

    #[test]
    fn every_wire_type() {
        assert_eq!(
            decode(ALL).unwrap(),
            [
                Field { number: 1, value: Value::Varint(150) },
                Field { number: 2, value: Value::Fixed64(0x0807060504030201) },
                Field { number: 3, value: Value::Bytes(&[0xaa, 0xbb]) },
                Field { number: 4, value: Value::Group },
                Field { number: 5, value: Value::Fixed32(1) },
            ]
        );
    }

    #[test]
    fn cut_off_anywhere_inside_a_field_is_an_error() {
        let ends = [0, 3, 12, 16, 39, ALL.len()];
        assert_eq!(ALL[39], 0x2d);
        for cut in 0..=ALL.len() {
            let decoded = decode(&ALL[..cut]);
            match ends.contains(&cut) {
                true => assert!(decoded.is_ok(), "cut at {cut}"),
                false => assert_eq!(decoded, Err(DecodeError::Truncated), "cut at {cut}"),
            }
        }
    }

    #[test]
    fn what_is_no_field() {
        assert_eq!(decode(&[0x00, 0x00]), Err(DecodeError::FieldNumber(0)));
        assert_eq!(decode(&[0x0c]), Err(DecodeError::EndGroup));
        assert_eq!(decode(&[0x0e]), Err(DecodeError::WireType(6)));
        assert_eq!(decode(&[0x0b, 0x0f]), Err(DecodeError::WireType(7)));
        assert_eq!(decode(&[0xff; 11]), Err(DecodeError::Varint));
        let mut minus_one = Vec::new();
        put_varint((1 << 35) - 8, &mut minus_one);
        assert_eq!(decode(&minus_one), Err(DecodeError::FieldNumber(-1)));
        // A length near the end of the address space must not overflow anything.
        let mut huge = vec![0x0a];
        put_varint(u64::MAX, &mut huge);
        assert_eq!(decode(&huge), Err(DecodeError::Truncated));
    }

    /// What other readers refuse and the reference takes.
    #[test]
    fn what_only_go_takes() {
        let field = |number, value| Ok(vec![Field { number, value }]);
        // A number above 2^29 − 1, and one that is 1 in the 32 bits that count.
        for (key, number) in
            [(1_u64 << 32, 1 << 29), ((1 << 34) - 8, (1 << 31) - 1), (1 << 35 | 8, 1)]
        {
            let mut message = Vec::new();
            put_varint(key, &mut message);
            message.push(7);
            assert_eq!(decode(&message), field(number, Value::Varint(7)), "{key:#x}");
        }
        // Ten bytes, of whose last only one bit finds room.
        let mut message = vec![0x08];
        message.extend([0xff; 9]);
        message.push(0x7f);
        assert_eq!(decode(&message), field(1, Value::Cut(u64::MAX)));
        let cut = decode(&message).unwrap()[0];
        assert_eq!((cut.varint(), cut.whole_varint()), (Ok(u64::MAX), Err(DecodeError::Varint)));
        // A group in which fields have number 0, which ends as another one.
        assert_eq!(decode(&[0x0b, 0x00, 0x01, 0xfc, 0x01]), field(1, Value::Group));
    }

    #[test]
    fn ends_after_an_error() {
        let mut fields = Fields::new(&[0x0e, 0x08, 0x01]);
        assert!(fields.next().unwrap().is_err());
        assert_eq!(fields.next(), None);
    }

    #[test]
    fn deep_groups_cost_no_stack() {
        let mut message = vec![0x0b; 1_000_000];
        message.extend(vec![0x0c; 1_000_000]);
        assert_eq!(decode(&message), Ok(vec![Field { number: 1, value: Value::Group }]));
        message.pop();
        assert_eq!(decode(&message), Err(DecodeError::Truncated));
    }

    #[test]
    fn round_trip_and_types() {
        let mut message = Vec::new();
        put_varint_field(1, u64::MAX, &mut message);
        put_bytes_field(2, b"text", &mut message);
        // What proto3 leaves out.
        put_varint_field(3, 0, &mut message);
        put_bytes_field(4, b"", &mut message);
        assert_eq!(decode(&message).unwrap().len(), 2);
        put_message_field(5, b"", &mut message);
        let fields = decode(&message).unwrap();
        assert_eq!(fields[0].varint(), Ok(u64::MAX));
        assert_eq!(fields[0].bytes(), Err(DecodeError::WrongType(1)));
        assert_eq!(fields[1].bytes(), Ok(b"text".as_slice()));
        assert_eq!(fields[1].varint(), Err(DecodeError::WrongType(2)));
        assert_eq!(fields[2].bytes(), Ok(&[][..]));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(message: Vec<u8>) {
            let _ = decode(&message);
        }
    }
}
