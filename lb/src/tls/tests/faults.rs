//! What is said of files that cannot be used, and where.

use std::path::Path;

use super::*;

/// What is wrong with a configuration, without the folder's name and without the lines.
fn problems(folder: &Path, text: &str) -> String {
    let Err(problems) = load(&config(folder, text), None) else {
        panic!("nothing was found wrong")
    };
    let text = problems.to_string().replace(&format!("{}/", folder.display()), "");
    text.lines()
        .filter(|line| !line.starts_with("  "))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn every_file_that_cannot_be_used_is_reported_where_it_is_named() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("a"));
    let (good, other) = (authority.issue(&["a.test"]), authority.issue(&["a.test"]));
    let write = |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).unwrap();
    good.write(folder.path(), "good");
    write("cut.pem", &good.certificate.as_bytes()[..good.certificate.len() / 2]);
    write("empty.key", b"");
    write("strange.pem", good.certificate.replace("MII", "???").as_bytes());
    write("other.pem", good.certificate.as_bytes());
    write("other.key", other.key.as_bytes());
    write("der.pem", authority.0.der());
    write(
        "locked.key",
        b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    std::fs::create_dir(folder.path().join("folder.pem")).unwrap();
    let entry =
        |certificate: &str, key: &str| format!("[[server.tls]]\nlisten = '127.0.0.1:8443'\ncertificate = '{certificate}'\nkey = '{key}'\n");
    let mut text = String::new();
    for (certificate, key) in [
        ("missing.pem", "missing.key"),
        ("cut.pem", "empty.key"),
        ("strange.pem", "good.pem"),
        ("other.pem", "other.key"),
        ("der.pem", "locked.key"),
        ("folder.pem", "good.key"),
        ("good.key", "good.key"),
    ] {
        text += &entry(certificate, key);
    }
    text += &entry("good.pem", "good.key");
    text += "client_ca = 'good.key'\n[upstreams.u]\nservers = ['127.0.0.1:1']\nprotocol = 'https'\n";
    text += "tls = { ca = 'nowhere.pem', certificate = 'good.pem', key = 'other.key' }\n";
    let expected = "\
lb.toml:3:15: error: cannot read missing.pem: there is no such file
lb.toml:4:7: error: cannot read missing.key: there is no such file
lb.toml:7:15: error: cut.pem is damaged: it ends before its -----END …----- line
lb.toml:8:7: error: there is no private key in empty.key: it is empty
lb.toml:11:15: error: strange.pem is damaged: what stands between its lines is no base64
lb.toml:12:7: error: there is no private key in good.pem: there are only certificates
lb.toml:16:7: error: the private key in other.key does not belong to the certificate in other.pem
lb.toml:19:15: error: there is no certificate in der.pem: it is DER, and PEM is expected (openssl x509 -inform der, or openssl pkey -inform der, converts it)
lb.toml:20:7: error: the private key in locked.key is encrypted, and nobody is there to ask for its passphrase
lb.toml:23:15: error: cannot read folder.pem: this is no file
lb.toml:27:15: error: there is no certificate in good.key: there is a private key
lb.toml:33:13: error: there is no certificate in good.key: there is a private key
lb.toml:37:14: error: cannot read nowhere.pem: there is no such file
lb.toml:37:61: error: the private key in other.key does not belong to the certificate in good.pem
14 errors
";
    assert_eq!(problems(folder.path(), &text), expected);
}

#[test]
fn certificate_and_key_may_be_in_one_file_with_text_around_them() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("a"));
    let issued = authority.issue(&["a.test"]);
    let both = format!(
        "# renewed\n{}\nfriendlyName: a\n{}{}",
        issued.key,
        issued.certificate,
        authority.0.pem()
    );
    for name in ["a.pem", "a.key"] {
        std::fs::write(folder.path().join(name), &both).unwrap();
    }
    let tls = loaded(folder.path(), &[("a", None)]);
    let certificates = only(&tls).certificates();
    assert_eq!(certificates.len(), 1);
    assert_eq!(
        (&*certificates[0].names[0], certificates[0].serial.clone()),
        ("a.test", issued.serial())
    );
    assert_eq!(certificates[0].until(), "4096-01-01 00:00:00 UTC");
}
