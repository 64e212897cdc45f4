//! Takes instant-acme over its abilities. What it is told, and what it tells, is described in conformance/go/acme/main.go.

use std::collections::HashMap;
use std::env::var;
use std::error::Error;
use std::fs;
use std::future::Future;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, ExternalAccountKey, Identifier, NewAccount, NewOrder, OrderStatus,
    RetryPolicy, RevocationReason, RevocationRequest,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

type Failure = Box<dyn Error>;
type Obtained = Option<(String, Vec<String>)>;

/// What http-01 is answered with, by token.
type Answers = Arc<Mutex<HashMap<String, String>>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let answers = Answers::default();
    let listener = TcpListener::bind((told("ACME_ADDRESS").as_str(), 80)).await?;
    tokio::spawn(serve(listener, answers.clone()));
    let mut account = register(None).await?;

    // The account that is made above is the one that is told of here.
    can("register", async { Ok(None) }).await;
    can("EAB", bind()).await;
    can("http-01", issue(&account, &answers, wanted("http", &["http"]))).await;
    can("several names", issue(&account, &answers, wanted("several", &["a", "b", "c"]))).await;
    let address = Wanted { names: vec![told("ACME_ADDRESS")], ..wanted("address", &[]) };
    can("IP", issue(&account, &answers, address)).await;
    can("dns-01", issue(&account, &answers, by_dns(wanted("dns", &["dns"])))).await;
    let wildcard = Wanted { names: vec![format!("*.{}", name("wild")), name("wild")], ..wanted("wildcard", &[]) };
    can("wildcard", issue(&account, &answers, by_dns(wildcard))).await;
    can("ARI", renew(&account, &answers)).await;
    can("key roll-over", async {
        let _credentials = account.update_key().await?;
        issue(&account, &answers, wanted("rolled", &["rolled"])).await
    })
    .await;
    can("revoke", revoke(&account)).await;
    can("deactivate", async {
        account.deactivate().await?;
        Ok(None)
    })
    .await;
    Ok(())
}

/// A certificate as its owner asks for it.
struct Wanted {
    label: &'static str,
    names: Vec<String>,
    challenge: ChallengeType,
    replaces: Option<CertificateIdentifier<'static>>,
}

fn wanted(label: &'static str, hosts: &[&str]) -> Wanted {
    Wanted { label, names: hosts.iter().map(|host| name(host)).collect(), challenge: ChallengeType::Http01, replaces: None }
}

fn by_dns(wanted: Wanted) -> Wanted {
    Wanted { challenge: ChallengeType::Dns01, ..wanted }
}

fn told(variable: &str) -> String {
    var(variable).unwrap_or_default()
}

fn name(host: &str) -> String {
    format!("{host}.{}", told("ACME_SUFFIX"))
}

/// Tries one ability, and tells how it went.
async fn can(ability: &str, act: impl Future<Output = Result<Obtained, Failure>>) {
    if !told("ACME_ABILITIES").split(',').any(|one| one == ability) {
        return;
    }
    let outcome = match act.await {
        Ok(Some((certificate, names))) => serde_json::json!({ "ability": ability, "certificate": certificate, "names": names }),
        Ok(None) => serde_json::json!({ "ability": ability }),
        Err(failure) => serde_json::json!({ "ability": ability, "complaint": failure.to_string() }),
    };
    println!("{outcome}");
}

async fn register(bound: Option<&ExternalAccountKey>) -> Result<Account, Failure> {
    let contact = ["mailto:instant@acme.test"];
    let wanted = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let builder = Account::builder_with_root(told("ACME_TRANSPORT_ROOTS"))?;
    Ok(builder.create(&wanted, told("ACME_DIRECTORY"), bound).await?.0)
}

async fn bind() -> Result<Obtained, Failure> {
    let key = URL_SAFE_NO_PAD.decode(told("ACME_EAB_KEY"))?;
    register(Some(&ExternalAccountKey::new(told("ACME_EAB_KID"), &key))).await?;
    Ok(None)
}

/// From newOrder to the certificate, in a file that is named after its label.
async fn issue(account: &Account, answers: &Answers, wanted: Wanted) -> Result<Obtained, Failure> {
    let identifiers: Vec<Identifier> = wanted.names.iter().map(|name| identifier(name)).collect();
    let mut request = NewOrder::new(&identifiers);
    if let Some(replaced) = wanted.replaces {
        request = request.replaces(replaced);
    }
    let mut order = account.new_order(&request).await?;
    let mut records = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let mut challenge = authorization.challenge(wanted.challenge.clone()).ok_or("the challenge is not offered")?;
        let proof = challenge.key_authorization();
        if wanted.challenge == ChallengeType::Dns01 {
            let record = (challenge.identifier().identifier.clone(), proof.dns_value());
            dns("add", &record).await?;
            records.push(record);
        } else {
            answers.lock().map_err(|_| "poisoned")?.insert(challenge.token.clone(), proof.as_str().to_owned());
        }
        challenge.set_ready().await?;
    }
    let status = order.poll_ready(&RetryPolicy::default()).await?;
    for record in &records {
        dns("remove", record).await?;
    }
    if status != OrderStatus::Ready {
        return Err(format!("every challenge was answered, and the order reads {status:?}").into());
    }
    order.finalize().await?;
    let chain = order.poll_certificate(&RetryPolicy::default()).await?;
    let file = format!("{}.pem", wanted.label);
    fs::write(&file, chain)?;
    Ok(Some((file, wanted.names)))
}

fn identifier(name: &str) -> Identifier {
    name.parse().map_or_else(|_| Identifier::Dns(name.to_owned()), Identifier::Ip)
}

/// The window of a new certificate lies ahead; the order for its successor names it.
async fn renew(account: &Account, answers: &Answers) -> Result<Obtained, Failure> {
    let leaf = CertificateDer::from_pem_file("http.pem")?;
    let replaced = CertificateIdentifier::try_from(&leaf)?.into_owned();
    let (information, _) = account.renewal_info(&replaced).await?;
    let window = information.suggested_window;
    if window.start >= window.end || window.start <= time::OffsetDateTime::now_utc() {
        return Err("the window of a new certificate does not lie ahead".into());
    }
    issue(account, answers, Wanted { replaces: Some(replaced), ..wanted("renewed", &["http"]) }).await
}

async fn revoke(account: &Account) -> Result<Obtained, Failure> {
    let certificate = CertificateDer::from_pem_file("http.pem")?;
    account.revoke(&RevocationRequest { certificate: &certificate, reason: Some(RevocationReason::Superseded) }).await?;
    Ok(None)
}

async fn dns(action: &str, (identifier, value): &(Identifier, String)) -> Result<(), Failure> {
    let Identifier::Dns(name) = identifier else { return Err("an address has no TXT record".into()) };
    let status = Command::new(told("ACME_DNS_HOOK")).args([action, &format!("_acme-challenge.{name}"), value]).status().await?;
    if status.success() { Ok(()) } else { Err(format!("dns hook: {status}").into()) }
}

async fn serve(listener: TcpListener, answers: Answers) {
    while let Ok((connection, _)) = listener.accept().await {
        tokio::spawn(answer(connection, answers.clone()));
    }
}

/// Answers one request, and closes.
async fn answer(mut connection: TcpStream, answers: Answers) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        if connection.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let text = String::from_utf8_lossy(&request);
    let path = text.split(' ').nth(1).unwrap_or_default();
    let token = path.strip_prefix("/.well-known/acme-challenge/").unwrap_or_default();
    let body = answers.lock().ok().and_then(|known| known.get(token).cloned()).unwrap_or_default();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    connection.write_all(format!("{head}{body}").as_bytes()).await
}
