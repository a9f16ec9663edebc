//! `AT+CRSM`, restricted SIM access, 3GPP TS 27.007 section 8.18: files, and no applications.

use es10_apdu::apdu::ins;
use es10_apdu::at::Cme;

use super::digits::read_digits;
use super::registration::EF_FPLMN;
use super::{Card, Failure, Modem, Reply};

/// A command on a file.
#[derive(Clone, Debug)]
pub(super) struct FileAccess {
    ins: u8,
    file: Option<u16>,
    parameters: [u8; 3],
    data: Vec<u8>,
    path: Option<Vec<u8>>,
}

impl FileAccess {
    /// Reads `<command>[,<file>[,<P1>,<P2>,<P3>[,"<data>"[,"<path>"]]]]`.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut fields = text.split(',').map(str::trim);
        let ins = fields.next()?.parse().ok()?;
        let mut number = || match fields.next() {
            None | Some("") => Some(None),
            Some(text) => text.parse::<u16>().ok().map(Some),
        };
        let file = number()?;
        let numbers = [number()?, number()?, number()?];
        let mut parameters = [0; 3];
        for (parameter, number) in parameters.iter_mut().zip(numbers) {
            *parameter = u8::try_from(number.unwrap_or(0)).ok()?;
        }
        let mut digits = || match fields.next() {
            None | Some("" | "\"\"") => Some(None),
            Some(text) => read_digits(text).map(Some),
        };
        let data = digits()?.unwrap_or_default();
        let path = digits()?;
        let fits = data.len() <= 255 && path.as_ref().is_none_or(|path| path.len() % 2 == 0);
        (fits && fields.next().is_none()).then_some(Self {
            ins,
            file,
            parameters,
            data,
            path,
        })
    }

    /// Where the file is: in the path given, else where files of its number are.
    fn folders(&self) -> Vec<u16> {
        let path = self.path.as_deref().unwrap_or_default();
        let words = path
            .chunks_exact(2)
            .map(|word| u16::from_be_bytes([word[0], word[1]]));
        let words: Vec<u16> = words.filter(|word| *word != MASTER_FILE).collect();
        match self.file {
            Some(file) if self.path.is_none() && file >> 8 == 0x6F => vec![APPLICATION],
            _ => words,
        }
    }

    fn apdu(&self) -> Vec<u8> {
        let [p1, p2, p3] = self.parameters;
        let class = if self.ins == ins::STATUS { 0x80 } else { 0x00 };
        let mut apdu = vec![class, self.ins, p1, p2];
        match (self.ins, u8::try_from(self.data.len())) {
            (ins::UPDATE_BINARY | ins::UPDATE_RECORD, Ok(length)) => {
                apdu.push(length);
                apdu.extend(&self.data);
            }
            _ => apdu.push(p3),
        }
        apdu
    }
}

impl<C: Card> Modem<C> {
    /// Selects the file on the basic channel and executes the command there.
    pub(super) fn access_file(&mut self, access: &FileAccess) -> Reply {
        let known = [
            ins::READ_BINARY,
            ins::READ_RECORD,
            ins::GET_RESPONSE,
            ins::STATUS,
            ins::UPDATE_BINARY,
            ins::UPDATE_RECORD,
        ];
        if !known.contains(&access.ins) {
            return Err(Failure::Cme(Cme::NOT_ALLOWED));
        }
        let mut selected = None;
        if let Some(file) = access.file {
            selected = Some(self.select(MASTER_FILE));
            let last = (file != MASTER_FILE).then_some(file);
            for id in access.folders().into_iter().chain(last) {
                let answer = match id {
                    APPLICATION => self.select_application(),
                    id => self.select(id),
                };
                let done = answer.is_done();
                selected = Some(answer);
                if !done {
                    break;
                }
            }
        }
        let answer = match selected {
            Some(answer) if !answer.is_done() => answer,
            // What SELECT answers is what there is to be had.
            Some(answer) if access.ins == ins::GET_RESPONSE => answer,
            _ => self.own(&access.apdu()),
        };
        if access.ins == ins::UPDATE_BINARY && access.file == Some(EF_FPLMN) {
            self.read_forbidden_networks();
        }
        let [sw1, sw2] = answer.sw.to_be_bytes();
        if answer.sw == 0 {
            return Err(Failure::Cme(Cme::SIM_FAILURE));
        }
        Ok(vec![match answer.data.is_empty() {
            true => format!("+CRSM: {sw1},{sw2}"),
            false => {
                let digits = hex::encode_upper(&answer.data);
                format!("+CRSM: {sw1},{sw2},\"{digits}\"")
            }
        }])
    }
}

const MASTER_FILE: u16 = 0x3F00;
/// The current application, in a path.
const APPLICATION: u16 = 0x7FFF;
