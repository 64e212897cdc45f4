import com.sun.net.httpserver.HttpServer;
import java.io.FileInputStream;
import java.io.FileWriter;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.security.KeyPair;
import java.security.KeyStore;
import java.security.Security;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Stream;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.shredzone.acme4j.AccountBuilder;
import org.shredzone.acme4j.Authorization;
import org.shredzone.acme4j.Identifier;
import org.shredzone.acme4j.Login;
import org.shredzone.acme4j.Order;
import org.shredzone.acme4j.RevocationReason;
import org.shredzone.acme4j.Session;
import org.shredzone.acme4j.Status;
import org.shredzone.acme4j.challenge.Challenge;
import org.shredzone.acme4j.challenge.Dns01Challenge;
import org.shredzone.acme4j.challenge.Http01Challenge;
import org.shredzone.acme4j.challenge.TlsAlpn01Challenge;
import org.shredzone.acme4j.toolbox.JSONBuilder;
import org.shredzone.acme4j.util.KeyPairUtils;

/** Takes acme4j over its abilities. What it is told, and what it tells, is described in conformance/go/acme/main.go. */
public final class Acme4j {
  private static final Map<String, String> told = System.getenv();
  private static final Duration patience = Duration.ofSeconds(30);

  /** What http-01 is answered with, by path. */
  private final Map<String, String> answers = new ConcurrentHashMap<>();
  private final Session session = new Session(told.get("ACME_DIRECTORY"));
  private Login login;

  public static void main(String[] arguments) throws Exception {
    Security.addProvider(new BouncyCastleProvider());
    SSLContext.setDefault(trusting(told.get("ACME_TRANSPORT_ROOTS")));
    new Acme4j().walk();
    // Its own threads would wait for more requests.
    System.exit(0);
  }

  private void walk() throws Exception {
    var server = HttpServer.create(new InetSocketAddress(told.get("ACME_ADDRESS"), 80), 0);
    server.createContext("/", exchange -> {
      byte[] answer = answers.getOrDefault(exchange.getRequestURI().getPath(), "").getBytes(StandardCharsets.US_ASCII);
      exchange.sendResponseHeaders(200, answer.length);
      exchange.getResponseBody().write(answer);
      exchange.close();
    });
    server.start();

    can("register", () -> {
      login = register(new AccountBuilder().addEmail("acme4j@acme.test"));
      return null;
    });
    can("EAB", () -> {
      register(new AccountBuilder().withKeyIdentifier(told.get("ACME_EAB_KID"), told.get("ACME_EAB_KEY")));
      return null;
    });
    can("http-01", () -> issue(Http01Challenge.class, "http", names("http")));
    can("several names", () -> issue(Http01Challenge.class, "several", names("a", "b", "c")));
    can("IP", () -> issue(Http01Challenge.class, "address", List.of(told.get("ACME_ADDRESS"))));
    can("dns-01", () -> issue(Dns01Challenge.class, "dns", names("dns")));
    can("wildcard", () -> issue(Dns01Challenge.class, "wildcard", names("*.wild", "wild")));
    can("tls-alpn-01", () -> issue(TlsAlpn01Challenge.class, "alpn", names("alpn")));
    can("ARI", this::renew);
    can("key roll-over", () -> {
      KeyPair key = newKey();
      login.getAccount().changeKey(key);
      login = session.login(login.getAccountLocation(), key);
      return issue(Http01Challenge.class, "rolled", names("rolled"));
    });
    can("revoke", () -> {
      org.shredzone.acme4j.Certificate.revoke(login, leafOf("http.pem"), RevocationReason.SUPERSEDED);
      return null;
    });
    can("deactivate", () -> {
      login.getAccount().deactivate();
      return null;
    });
  }

  /** A chain in a file, and the identifiers that it must stand for. */
  private record Obtained(String certificate, Collection<String> names) {}

  private interface Act {
    Obtained act() throws Exception;
  }

  /** Tries one ability, and tells how it went. */
  private static void can(String ability, Act act) {
    if (!List.of(told.getOrDefault("ACME_ABILITIES", "").split(",")).contains(ability)) return;
    var outcome = new JSONBuilder().put("ability", ability);
    try {
      Obtained obtained = act.act();
      if (obtained != null) outcome.put("certificate", obtained.certificate()).array("names", obtained.names());
    } catch (Exception error) {
      outcome.put("complaint", String.valueOf(error));
    }
    System.out.println(outcome);
  }

  private static List<String> names(String... hosts) {
    return Stream.of(hosts).map(host -> host + "." + told.get("ACME_SUFFIX")).toList();
  }

  private static KeyPair newKey() {
    return KeyPairUtils.createECKeyPair("secp256r1");
  }

  private Login register(AccountBuilder builder) throws Exception {
    return builder.agreeToTermsOfService().useKeyPair(newKey()).createLogin(session);
  }

  private Obtained issue(Class<? extends Challenge> challenge, String label, List<String> names) throws Exception {
    return finish(login.newOrder().identifiers(identifiers(names)).create(), challenge, label, names);
  }

  private static List<Identifier> identifiers(List<String> names) throws Exception {
    var identifiers = new ArrayList<Identifier>();
    for (String name : names) identifiers.add(Character.isDigit(name.charAt(0)) ? Identifier.ip(name) : Identifier.dns(name));
    return identifiers;
  }

  /** From a new order to the certificate, in a file that is named after its label. */
  private Obtained finish(Order order, Class<? extends Challenge> challenge, String label, List<String> names) throws Exception {
    for (Authorization authorization : order.getAuthorizations()) prove(authorization, challenge);
    if (order.waitUntilReady(patience) != Status.READY) throw new IllegalStateException("every authorization is valid, the order is not ready");
    order.execute(newKey());
    if (order.waitForCompletion(patience) != Status.VALID) throw new IllegalStateException("the order reads " + order.getStatus());
    String file = label + ".pem";
    try (var writer = new FileWriter(file)) {
      order.getCertificate().writeCertificate(writer);
    }
    return new Obtained(file, names);
  }

  private void prove(Authorization authorization, Class<? extends Challenge> kind) throws Exception {
    if (authorization.getStatus() == Status.VALID) return;
    Challenge challenge = authorization.findChallenge(kind).orElseThrow();
    try (AutoCloseable presented = present(authorization, challenge)) {
      challenge.trigger();
      if (authorization.waitForCompletion(patience) == Status.VALID) return;
      throw new IllegalStateException("the authorization reads " + authorization.getStatus() + ": " + challenge.getError());
    }
  }

  /** Makes the answer to a challenge visible, until what it gives is closed. */
  private AutoCloseable present(Authorization authorization, Challenge challenge) throws Exception {
    if (challenge instanceof Http01Challenge http) {
      String path = "/.well-known/acme-challenge/" + http.getToken();
      answers.put(path, http.getAuthorization());
      return () -> answers.remove(path);
    }
    if (challenge instanceof Dns01Challenge dns) {
      String record = "_acme-challenge." + authorization.getIdentifier().getDomain();
      hook("add", record, dns.getDigest());
      return () -> hook("remove", record, dns.getDigest());
    }
    // The library signs this certificate with RSA alone.
    KeyPair key = KeyPairUtils.createKeyPair(2048);
    return serve(key, ((TlsAlpn01Challenge) challenge).createCertificate(key, authorization.getIdentifier()));
  }

  private static void hook(String action, String record, String value) throws Exception {
    int status = new ProcessBuilder(told.get("ACME_DNS_HOOK"), action, record, value).inheritIO().start().waitFor();
    if (status != 0) throw new IllegalStateException("dns hook: " + status);
  }

  /** Answers tls-alpn-01 on port 443 with one certificate. */
  private static AutoCloseable serve(KeyPair key, Certificate certificate) throws Exception {
    var store = KeyStore.getInstance("PKCS12");
    store.load(null, null);
    store.setKeyEntry("challenge", key.getPrivate(), new char[0], new Certificate[] {certificate});
    var keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
    keys.init(store, new char[0]);
    var context = SSLContext.getInstance("TLS");
    context.init(keys.getKeyManagers(), null, null);
    var address = InetAddress.getByName(told.get("ACME_ADDRESS"));
    var server = (SSLServerSocket) context.getServerSocketFactory().createServerSocket(443, 10, address);
    var parameters = server.getSSLParameters();
    parameters.setApplicationProtocols(new String[] {"acme-tls/1"});
    server.setSSLParameters(parameters);
    var thread = new Thread(() -> {
      while (!server.isClosed()) {
        try (var connection = (SSLSocket) server.accept()) {
          connection.startHandshake();
        } catch (Exception ended) {
          // A connection that is no handshake, or the end of the server.
        }
      }
    });
    thread.setDaemon(true);
    thread.start();
    return server;
  }

  /** The window of a new certificate lies ahead; the order for its successor names it. */
  private Obtained renew() throws Exception {
    var leaf = leafOf("http.pem");
    var information = login.bindRenewalInfo(leaf);
    Instant begin = information.getSuggestedWindowStart();
    if (begin.isBefore(Instant.now()) || !begin.isBefore(information.getSuggestedWindowEnd())) {
      throw new IllegalStateException("the window of a new certificate does not lie ahead");
    }
    var names = names("http");
    return finish(login.newOrder().identifiers(identifiers(names)).replaces(leaf).create(), Http01Challenge.class, "renewed", names);
  }

  private static java.security.cert.X509Certificate leafOf(String file) throws Exception {
    try (var stream = new FileInputStream(file)) {
      return (java.security.cert.X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(stream);
    }
  }

  private static SSLContext trusting(String file) throws Exception {
    var roots = KeyStore.getInstance("PKCS12");
    roots.load(null, null);
    try (var stream = new FileInputStream(file)) {
      for (Certificate root : CertificateFactory.getInstance("X.509").generateCertificates(stream)) {
        roots.setCertificateEntry("root " + roots.size(), root);
      }
    }
    var managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    managers.init(roots);
    var context = SSLContext.getInstance("TLS");
    context.init(null, managers.getTrustManagers(), null);
    return context;
  }
}
