import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.security.KeyStore;
import java.security.cert.CertPathValidator;
import java.security.cert.Certificate;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.PKIXParameters;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;
import sun.security.util.HostnameChecker;

/**
 * Path validation as Java's TLS does it (PKIX trust manager, end-entity checks, host name), for a list of questions.
 * One line of standard input a question: purpose, name or "-", root, certificate, intermediates or "-" (PEM files), divided by tabs.
 * One line of standard output an answer: "accepted", or "refused" and the reason.
 */
public final class Verify {
  public static void main(String[] arguments) throws Exception {
    var input = new BufferedReader(new InputStreamReader(System.in));
    for (String line = input.readLine(); line != null; line = input.readLine()) {
      try {
        verify(line.split("\t"));
        System.out.println("accepted");
      } catch (Exception error) {
        System.out.println("refused " + String.valueOf(error.getMessage()).replace('\n', ' '));
      }
    }
  }

  private static void verify(String[] question) throws Exception {
    String purpose = question[0];
    X509Certificate root = certificates(question[2]).get(0);
    List<X509Certificate> chain = new ArrayList<>(certificates(question[3]).subList(0, 1));
    if (!question[4].equals("-")) chain.addAll(certificates(question[4]));
    switch (purpose) {
      case "serverAuth" -> trustManager(root).checkServerTrusted(chain.toArray(X509Certificate[]::new), keyExchange(chain.get(0)));
      case "clientAuth" -> trustManager(root).checkClientTrusted(chain.toArray(X509Certificate[]::new), chain.get(0).getPublicKey().getAlgorithm());
      default -> validatePath(root, chain);
    }
    if (purpose.equals("ocspSigning")) requireOcspSigning(chain.get(0));
    if (!question[1].equals("-")) HostnameChecker.getInstance(HostnameChecker.TYPE_TLS).match(question[1], chain.get(0));
  }

  private static List<X509Certificate> certificates(String file) throws Exception {
    try (var stream = new FileInputStream(file)) {
      var found = new ArrayList<X509Certificate>();
      for (Certificate one : CertificateFactory.getInstance("X.509").generateCertificates(stream)) found.add((X509Certificate) one);
      return found;
    }
  }

  private static X509TrustManager trustManager(X509Certificate root) throws Exception {
    KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
    trusted.load(null, null);
    trusted.setCertificateEntry("root", root);
    TrustManagerFactory factory = TrustManagerFactory.getInstance("PKIX");
    factory.init(trusted);
    for (TrustManager manager : factory.getTrustManagers()) if (manager instanceof X509TrustManager found) return found;
    throw new IllegalStateException("no X509TrustManager");
  }

  private static String keyExchange(X509Certificate leaf) {
    return leaf.getPublicKey().getAlgorithm().equals("EC") ? "ECDHE_ECDSA" : "ECDHE_RSA";
  }

  private static void validatePath(X509Certificate root, List<X509Certificate> chain) throws Exception {
    var parameters = new PKIXParameters(Set.of(new TrustAnchor(root, null)));
    // No CRL or OCSP response is at hand here: revocation has checks of its own.
    parameters.setRevocationEnabled(false);
    CertPathValidator.getInstance("PKIX").validate(CertificateFactory.getInstance("X.509").generateCertPath(chain), parameters);
  }

  private static void requireOcspSigning(X509Certificate leaf) throws CertificateException {
    List<String> usages = leaf.getExtendedKeyUsage();
    if (usages == null || !usages.contains("1.3.6.1.5.5.7.3.9")) throw new CertificateException("no id-kp-OCSPSigning");
  }
}
