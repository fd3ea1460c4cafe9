use alloc::{string::ToString as _, vec};

use super::*;

fn files(texts: &[(&str, &str)]) -> Files {
    let mut files = Files::default();
    texts.iter().for_each(|(path, text)| files.insert(path, text));
    files
}

fn revealed(text: &str) -> Revealed {
    nginx("/etc/nginx/nginx.conf", &files(&[("/etc/nginx/nginx.conf", text)]))
}

/// `file key names`.
fn certificates(revealed: &Revealed) -> Vec<String> {
    let one = |certificate: &super::super::Certificate| {
        let key = certificate.key.as_deref().unwrap_or("-");
        format!("{} {key} {}", certificate.file, certificate.names.join(","))
    };
    revealed.certificates.iter().map(one).collect()
}

#[test]
fn certificates_belong_to_servers() {
    for (text, found) in [
        (
            "http { server { server_name a.b; ssl_certificate c.pem; ssl_certificate_key /k/c.key; } }",
            vec!["/etc/nginx/c.pem /k/c.key a.b"],
        ),
        // Two kinds of key: the n-th key is the n-th certificate's.
        (
            "server { ssl_certificate a; ssl_certificate b; ssl_certificate_key x; ssl_certificate_key y; }",
            vec!["/etc/nginx/a /etc/nginx/x ", "/etc/nginx/b /etc/nginx/y "],
        ),
        // Taken over from outside, by each server that has none.
        (
            "http { ssl_certificate a; ssl_certificate_key k; server { server_name x.y; } server { server_name z.y; } \
             server { ssl_certificate b; } }",
            vec!["/etc/nginx/a /etc/nginx/k x.y,z.y", "/etc/nginx/b - "],
        ),
        // The same file for both.
        (
            "server { ssl_certificate a; ssl_certificate_key a; server_name .x.y _ localhost; }",
            vec!["/etc/nginx/a /etc/nginx/a x.y,*.x.y"],
        ),
        ("server { ssl_certificate $ssl_server_name.pem; ssl_certificate data:$cert; }", vec![]),
        ("# server { ssl_certificate a; }", vec![]),
        ("server { ssl_certificate a", vec![]),
        ("server { ssl_certificate 'a b'; }", vec!["/etc/nginx/a b - "]),
        ("location / { proxy_ssl_certificate c; proxy_ssl_certificate_key k; }", vec!["/etc/nginx/c /etc/nginx/k "]),
    ] {
        assert_eq!(certificates(&revealed(text)), found, "{text}");
    }
}

#[test]
fn addresses_of_both_sides() {
    let revealed = revealed(
        "upstream app { server 10.0.0.1:9000 weight=2; server app.internal; server unix:/run/a.sock; }
         server { listen 80; listen [::]:443 ssl; listen 443 quic; listen unix:/run/n.sock; listen 127.0.0.1:81;
           location / { proxy_pass http://app; } location /b { proxy_pass https://b.internal/x; }
           location /c { proxy_pass http://$backend; } location ~ \\.php$ { fastcgi_pass 127.0.0.1:9001; }
           location /d { fastcgi_pass unix:/run/php.sock; proxy_pass http://unix:/run/b.sock:/x; } }",
    );
    let listens: Vec<_> = revealed.listens.iter().map(|listen| format!("{} {}", listen.address, listen.tls)).collect();
    assert_eq!(listens, ["*:80 false", "*:443 true", "127.0.0.1:81 false"]);
    let upstreams: Vec<_> = revealed.upstreams.iter().map(|upstream| upstream.address.to_string()).collect();
    assert_eq!(upstreams, ["10.0.0.1:9000", "app.internal:80", "b.internal:443", "127.0.0.1:9001"]);
    let sockets: Vec<_> = revealed.sockets.iter().map(|socket| (&*socket.path, socket.at.line)).collect();
    assert_eq!(sockets, [("/run/a.sock", 1), ("/run/php.sock", 5), ("/run/b.sock", 5)]);
    assert_eq!(revealed.unclear[0].what, "http://$backend: it depends on a variable");
    assert_eq!(revealed.unclear[0].at.line, 4);
}

#[test]
fn other_files() {
    use Role::{Authority, Data, Live, Part};
    for (text, role, file) in [
        ("ssl_client_certificate ca.pem;", Authority, "/etc/nginx/ca.pem"),
        ("proxy_ssl_trusted_certificate /ca;", Authority, "/ca"),
        ("grpc_ssl_crl /crl;", Data, "/crl"),
        ("ssl_stapling_file /ocsp;", Data, "/ocsp"),
        ("ssl_dhparam dh.pem;", Data, "/etc/nginx/dh.pem"),
        ("ssl_session_ticket_key /t;", Data, "/t"),
        ("uwsgi_ssl_password_file /p;", Data, "/p"),
        ("geoip_country /g;", Data, "/g"),
        ("auth_basic_user_file users;", Live, "/etc/nginx/users"),
        ("js_import a.js;", Part, "/etc/nginx/a.js"),
        ("js_path njs; js_import main from a.js;", Part, "/etc/nginx/njs/a.js"),
        ("content_by_lua_file /l.lua;", Part, "/l.lua"),
        ("set_by_lua_file $x /l.lua;", Part, "/l.lua"),
        ("perl_require /p.pl;", Part, "/p.pl"),
    ] {
        let revealed = revealed(text);
        let found: Vec<_> = revealed.references.iter().map(|found| (found.role, found.file.as_str())).collect();
        assert_eq!(found, [(role, file)], "{text}");
        assert!(revealed.unclear.is_empty(), "{text}");
    }
    for text in ["ssl_trusted_certificate data:x;", "proxy_ssl_crl off;", "ssl_crl '';", "load_module modules/a.so;"] {
        assert!(revealed(text).references.is_empty() && revealed(text).unclear.is_empty(), "{text}");
    }
    for (text, is_file, what) in [
        ("ssl_certificate $n.pem;", true, "ssl_certificate $n.pem: it depends on a variable"),
        ("auth_basic_user_file /u/$host;", true, "auth_basic_user_file /u/$host: it depends on a variable"),
        ("content_by_lua_file $l;", true, "content_by_lua_file $l: it depends on a variable"),
        ("content_by_lua_file l.lua;", true, "content_by_lua_file l.lua: it is relative to what is not written"),
        ("server_name ~^a;", false, "server_name ~^a"),
        ("proxy_pass http://$b;", false, "http://$b: it depends on a variable"),
    ] {
        let revealed = revealed(&format!("server {{ {text} }}"));
        let found: Vec<_> = revealed.unclear.iter().map(|found| (found.is_file, found.what.as_str())).collect();
        assert_eq!(found, [(is_file, what)], "{text}");
        assert!(revealed.references.is_empty(), "{text}");
    }
}

#[test]
fn includes() {
    let revealed = nginx(
        "/etc/nginx/nginx.conf",
        &files(&[
            (
                "/etc/nginx/nginx.conf",
                "pid /run/n.pid;\nhttp { include sites/*; include /opt/x.conf; include a.conf; }",
            ),
            ("/etc/nginx/sites/shop", "server { server_name shop.example; include snippets/tls.conf; }"),
            ("/etc/nginx/snippets/tls.conf", "ssl_certificate /etc/ssl/shop.pem;\nauth_basic_user_file users;"),
            ("/etc/nginx/not-included", "ssl_certificate /etc/ssl/other.pem;"),
            ("/etc/nginx/a.conf", "} } include a.conf;"),
        ]),
    );
    assert_eq!(certificates(&revealed), ["/etc/ssl/shop.pem - shop.example"]);
    assert_eq!(revealed.names, ["shop.example"]);
    assert_eq!(revealed.pid_file.as_deref(), Some("/run/n.pid"));
    let outside: Vec<_> = revealed.includes.iter().filter(|include| include.found.is_empty()).collect();
    assert_eq!((outside.len(), &*outside[0].pattern, outside[0].at.line), (1, "/opt/x.conf", 2));
    assert_eq!(revealed.references[0].file, "/etc/nginx/users");
    assert!(!revealed.files.contains("/etc/nginx/not-included"));
    assert!(revealed.is_cut, "a file that includes itself");
}

#[test]
fn a_dump() {
    let output = "nginx: test is successful\n# configuration file /e/n.conf:\na;\n\n# configuration file /e/b:\n\
                  # configuration file without a path:\n";
    let files = nginx_dump(output);
    assert_eq!(files.paths().collect::<Vec<_>>(), ["/e/b", "/e/n.conf"]);
    assert_eq!(files.text("/e/n.conf"), Some("a;\n\n"));
}

#[test]
fn bombs_end() {
    let twice = |next: usize| format!("include {next}; include {next};");
    let texts: Vec<_> = (0..40).map(|index| (format!("/e/{index}"), twice(index + 1))).collect();
    let mut files = Files::default();
    texts.iter().for_each(|(path, text)| files.insert(path, text));
    assert!(nginx("/e/0", &files).is_cut);
    let many = "server { ssl_certificate ".to_string()
        + &(0..30_000).map(|n| format!("{n}; ssl_certificate ")).collect::<String>();
    assert!(revealed(&many).is_cut || revealed(&many).certificates.is_empty());
    assert!(revealed(&"a {".repeat(10_000)).is_cut);
}
