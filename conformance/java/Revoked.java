import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.CertPathValidator;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertPathValidatorException.BasicReason;
import java.security.cert.CertificateFactory;
import java.security.cert.CertificateRevokedException;
import java.security.cert.PKIXParameters;
import java.security.cert.PKIXRevocationChecker;
import java.security.cert.PKIXRevocationChecker.Option;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import sun.security.provider.certpath.OCSPNonceExtension;

/**
 * What Java's PKIX revocation checker makes of certificates. Questions and answers are lines as conformance/revocation/tool.ts describes them.
 * CRLs are fetched from the URLs in the certificates, of the leaf and of its issuer; an OCSP response is asked for there too, by GET where the
 * request is short, or it is the one that the question brings.
 */
public final class Revoked {
  public static void main(String[] arguments) throws Exception {
    var input = new BufferedReader(new InputStreamReader(System.in));
    for (String line = input.readLine(); line != null; line = input.readLine()) {
      System.out.println(answer(line.split("\t")).replace('\n', ' '));
    }
  }

  private static String answer(String[] question) {
    try {
      validate(question[0], question[1], question[2], question[3], question[5]);
      return "good";
    } catch (CertPathValidatorException error) {
      if (error.getCause() instanceof CertificateRevokedException revoked) return "revoked " + reasonOf(revoked);
      if (error.getReason() == BasicReason.EXPIRED) return "expired";
      boolean unsigned = String.valueOf(error.getMessage()).startsWith("OCSP response error");
      if (unsigned || error.getReason() == BasicReason.UNDETERMINED_REVOCATION_STATUS) return "undetermined " + error.getMessage();
      return "refused " + error.getReason() + " " + error.getMessage();
    } catch (Exception error) {
      return "refused " + error;
    }
  }

  private static void validate(String method, String certificate, String issuer, String root, String response) throws Exception {
    X509Certificate leaf = read(certificate);
    var validator = CertPathValidator.getInstance("PKIX");
    var checker = (PKIXRevocationChecker) validator.getRevocationChecker();
    var options = EnumSet.of(Option.NO_FALLBACK);
    if (method.endsWith("CRL")) options.add(Option.PREFER_CRLS);
    else options.add(Option.ONLY_END_ENTITY);
    checker.setOptions(options);
    if (!response.equals("-")) checker.setOcspResponses(Map.of(leaf, Files.readAllBytes(Path.of(response))));
    // 32 octets (RFC 9654 §2.1); the checker refuses an answer that brings another nonce, or none.
    if (method.equals("OCSP nonce")) checker.setOcspExtensions(List.of(new OCSPNonceExtension(32)));
    var parameters = new PKIXParameters(Set.of(new TrustAnchor(read(root), null)));
    parameters.addCertPathChecker(checker);
    validator.validate(CertificateFactory.getInstance("X.509").generateCertPath(List.of(leaf, read(issuer))), parameters);
  }

  private static X509Certificate read(String file) throws Exception {
    try (var stream = new FileInputStream(file)) {
      return (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(stream);
    }
  }

  private static String reasonOf(CertificateRevokedException revoked) {
    return switch (revoked.getRevocationReason()) {
      case UNSPECIFIED -> "unspecified";
      case KEY_COMPROMISE -> "keyCompromise";
      case CA_COMPROMISE -> "cACompromise";
      case AFFILIATION_CHANGED -> "affiliationChanged";
      case SUPERSEDED -> "superseded";
      case CESSATION_OF_OPERATION -> "cessationOfOperation";
      case CERTIFICATE_HOLD -> "certificateHold";
      case REMOVE_FROM_CRL -> "removeFromCRL";
      case PRIVILEGE_WITHDRAWN -> "privilegeWithdrawn";
      case AA_COMPROMISE -> "aACompromise";
      case UNUSED -> "unused";
    };
  }
}
