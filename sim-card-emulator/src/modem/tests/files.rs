//! `AT+CRSM`.

use super::*;

#[test]
fn files_are_read_where_they_are() {
    let mut modem = quirky(&[]);
    dialogue(
        &mut modem,
        &[
            (
                "AT+CRSM=176,12258,0,0,10",
                "\r\n+CRSM: 144,0,\"981000000000000010F9\"\r\n\r\nOK\r\n",
            ),
            (
                "AT+CRSM=176,28423,0,0,9",
                "\r\n+CRSM: 144,0,\"080910101032547698\"\r\n\r\nOK\r\n",
            ),
            (
                "AT+CRSM=176,28423,0,0,9,\"\",\"3F007FFF\"",
                "\r\n+CRSM: 144,0,\"080910101032547698\"\r\n\r\nOK\r\n",
            ),
            (
                "AT+CRSM=178,12032,1,4,11,,\"3F00\"",
                "\r\n+CRSM: 144,0,\"61094F07A0000000871002FFFFFF\"\r\n\r\nOK\r\n",
            ),
            // No such record, no such file: the card's own status word.
            (
                "AT+CRSM=178,12032,2,4,11",
                "\r\n+CRSM: 106,131\r\n\r\nOK\r\n",
            ),
            (
                "AT+CRSM=176,12037,0,0,10",
                "\r\n+CRSM: 106,130\r\n\r\nOK\r\n",
            ),
            (
                "AT+CRSM=192,12258,0,0,15",
                "\r\n+CRSM: 144,0,\"62028200\"\r\n\r\nOK\r\n",
            ),
            (
                "AT+CRSM=242,,0,0,2",
                "\r\n+CRSM: 144,0,\"02\"\r\n\r\nOK\r\n",
            ),
        ],
    );
    assert!(
        modem.card().seen.is_empty(),
        "they are the modem's own commands"
    );
    let own = &modem.card().own;
    assert!(
        own.contains(&"00A4040407A0000000871002".to_owned()),
        "{own:?}"
    );
    assert_eq!(own.last().unwrap(), "80F2000002");
}

#[test]
fn what_is_no_file_command_never_reaches_the_card() {
    let mut modem = quirky(&[]);
    talk(&mut modem, "AT\r");
    let before = modem.card().own.len();
    dialogue(
        &mut modem,
        &[
            // MANAGE CHANNEL and STORE DATA are not among the restricted commands.
            ("AT+CRSM=112,0,0,0,1", "\r\n+CME ERROR: 3\r\n"),
            ("AT+CRSM=226,12258,0,0,1", "\r\n+CME ERROR: 3\r\n"),
            ("AT+CRSM=176,12258,0,0,256", "\r\n+CME ERROR: 50\r\n"),
            ("AT+CRSM=176,70000,0,0,1", "\r\n+CME ERROR: 50\r\n"),
            (
                "AT+CRSM=176,12258,0,0,10,\"\",\"3F\"",
                "\r\n+CME ERROR: 50\r\n",
            ),
            ("AT+CRSM=x", "\r\n+CME ERROR: 50\r\n"),
            ("AT+CRSM?", "\r\nERROR\r\n"),
        ],
    );
    assert_eq!(modem.card().own.len(), before);
}
