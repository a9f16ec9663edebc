//! Changes to a right request.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// What is left of an input; it never runs dry, but only says 0 then.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn octet(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn number(&mut self) -> usize {
        usize::from(u16::from_be_bytes([self.octet(), self.octet()]))
    }

    /// As many octets as the first one says.
    pub(crate) fn piece(&mut self) -> &'a [u8] {
        let length = usize::from(self.octet()).min(self.0.len());
        let (piece, rest) = self.0.split_at(length);
        self.0 = rest;
        piece
    }
}

/// Changes a member, inside another one maybe.
pub(crate) fn change(request: &mut Value, input: &mut Bytes<'_>) {
    let Some(members) = request.as_object_mut() else {
        return;
    };
    let name = members
        .keys()
        .nth(usize::from(input.octet()) % members.len().max(1));
    let Some(name) = name.cloned() else {
        return;
    };
    let Some(member) = members.get_mut(&name) else {
        return;
    };
    match input.octet() % 8 {
        0 => drop(members.remove(&name)),
        1 => *member = Value::Null,
        2 => *member = json!([member, { "a": 1e308 }, true]),
        3 => *member = String::from_utf8_lossy(input.piece()).into(),
        4 => *member = BASE64_STANDARD.encode(input.piece()).into(),
        5 => *member = serde_json::from_slice(input.piece()).unwrap_or(Value::from(-1)),
        6 if member.is_object() => change(member, input),
        _ => change_octets(member, input),
    }
}

/// Changes what a member in base64 stands for; of other text, the text.
fn change_octets(member: &mut Value, input: &mut Bytes<'_>) {
    let Some(text) = member.as_str() else {
        *member = json!({ "a": member });
        return;
    };
    let decoded = BASE64_STANDARD.decode(text);
    let is_base64 = decoded.is_ok();
    let mut octets = decoded.unwrap_or_else(|_| text.as_bytes().to_vec());
    let place = input.number() % octets.len().max(1);
    match input.octet() % 6 {
        0 => octets.truncate(place),
        1 => {
            let octet = input.octet();
            octets
                .get_mut(place)
                .into_iter()
                .for_each(|one| *one ^= octet.max(1));
        }
        2 => drop(octets.splice(place..place, input.piece().iter().copied())),
        3 => {
            let end = (place + usize::from(input.octet())).min(octets.len());
            octets.drain(place..end);
        }
        4 => octets.extend_from_slice(input.piece()),
        _ => octets = nested(octets, place),
    }
    *member = match is_base64 {
        true => BASE64_STANDARD.encode(octets).into(),
        false => String::from_utf8_lossy(&octets).into_owned().into(),
    };
}

/// So many constructed objects around nothing, at the end of what is there.
fn nested(mut octets: Vec<u8>, depth: usize) -> Vec<u8> {
    octets.extend([0x30, 0x80].repeat(depth.min(2000)));
    octets
}
