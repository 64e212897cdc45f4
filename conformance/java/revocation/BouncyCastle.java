import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.security.Security;
import java.security.cert.CRL;
import java.security.cert.CertPathValidator;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertStore;
import java.security.cert.CertificateExpiredException;
import java.security.cert.CertificateFactory;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXParameters;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Date;
import java.util.List;
import java.util.Set;
import org.bouncycastle.asn1.DEROctetString;
import org.bouncycastle.asn1.nist.NISTObjectIdentifiers;
import org.bouncycastle.asn1.ocsp.OCSPObjectIdentifiers;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.asn1.x509.CRLReason;
import org.bouncycastle.asn1.x509.ExtendedKeyUsage;
import org.bouncycastle.asn1.x509.Extension;
import org.bouncycastle.asn1.x509.Extensions;
import org.bouncycastle.asn1.x509.KeyPurposeId;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaX509CertificateHolder;
import org.bouncycastle.cert.ocsp.BasicOCSPResp;
import org.bouncycastle.cert.ocsp.CertificateID;
import org.bouncycastle.cert.ocsp.CertificateStatus;
import org.bouncycastle.cert.ocsp.OCSPReqBuilder;
import org.bouncycastle.cert.ocsp.OCSPResp;
import org.bouncycastle.cert.ocsp.RevokedStatus;
import org.bouncycastle.cert.ocsp.SingleResp;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.DigestCalculator;
import org.bouncycastle.operator.jcajce.JcaContentVerifierProviderBuilder;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;

/**
 * What BouncyCastle makes of certificates. Questions and answers are lines as conformance/revocation/tool.ts describes them.
 * CRLs come with the question and go through its PKIX path validation. OCSP requests are made, sent and their answers verified here, as RFC 6960 §3.2
 * asks of a client; for a batch the response comes with the question.
 */
public final class BouncyCastle {
  private static final HttpClient client = HttpClient.newHttpClient();

  /** A client's finding that no definite answer was had. */
  private static final class Undetermined extends Exception {
    Undetermined(String reason) {
      super(reason);
    }
  }

  public static void main(String[] arguments) throws Exception {
    Security.addProvider(new BouncyCastleProvider());
    var input = new BufferedReader(new InputStreamReader(System.in));
    for (String line = input.readLine(); line != null; line = input.readLine()) {
      System.out.println(answer(line.split("\t")).replace('\n', ' '));
    }
  }

  private static String answer(String[] question) {
    try {
      boolean byCrl = question[0].endsWith("CRL");
      X509Certificate leaf = read(question[1]), issuer = read(question[2]), root = read(question[3]);
      validate(leaf, issuer, root, byCrl ? question[4] : null);
      return byCrl ? "good" : ask(question[0], leaf, issuer, question[5], question[6]);
    } catch (Undetermined error) {
      return "undetermined " + error.getMessage();
    } catch (CertPathValidatorException error) {
      String words = String.valueOf(error.getMessage());
      if (words.contains("reason: ")) return "revoked " + words.substring(words.indexOf("reason: ") + 8);
      if (error.getCause() instanceof CertificateExpiredException || words.contains("expired on")) return "expired";
      return (words.contains("No CRLs found") ? "undetermined " : "refused ") + words;
    } catch (Exception error) {
      return "refused " + error;
    }
  }

  /** Path validation by RFC 5280 §6; with the CRL in the file `crl` and those beside it, unless that is null. */
  private static void validate(X509Certificate leaf, X509Certificate issuer, X509Certificate root, String crl) throws Exception {
    var parameters = new PKIXParameters(Set.of(new TrustAnchor(root, null)));
    parameters.setRevocationEnabled(crl != null);
    if (crl != null) {
      var factory = CertificateFactory.getInstance("X.509", "BC");
      List<CRL> crls = new ArrayList<>();
      for (String file : crl.split(",")) {
        try (var stream = new FileInputStream(file)) {
          crls.add(factory.generateCRL(stream));
        }
      }
      parameters.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(crls)));
    }
    var path = CertificateFactory.getInstance("X.509", "BC").generateCertPath(List.of(leaf, issuer));
    CertPathValidator.getInstance("PKIX", "BC").validate(path, parameters);
  }

  private static String ask(String method, X509Certificate leaf, X509Certificate issuer, String file, String responder) throws Exception {
    // SHA-1 by GET, as clients of old have it; SHA-256 else, as RFC 9919 §3.1.1 wants it.
    var algorithm = method.equals("OCSP GET") ? CertificateID.HASH_SHA1 : new AlgorithmIdentifier(NISTObjectIdentifiers.id_sha256);
    DigestCalculator digest = new JcaDigestCalculatorProviderBuilder().build().get(algorithm);
    var id = new CertificateID(digest, new JcaX509CertificateHolder(issuer), leaf.getSerialNumber());
    byte[] nonce = method.equals("OCSP nonce") ? SecureRandom.getSeed(32) : null;
    byte[] bytes = file.equals("-") ? send(method, request(id, nonce), responder) : Files.readAllBytes(Path.of(file));
    var response = new OCSPResp(bytes);
    if (response.getStatus() != OCSPResp.SUCCESSFUL) throw new Undetermined("responseStatus " + response.getStatus());
    var basic = (BasicOCSPResp) response.getResponseObject();
    requireSigner(basic, issuer);
    if (nonce != null) requireNonce(basic, nonce);
    for (SingleResp single : basic.getResponses()) {
      if (single.getCertID().matchesIssuer(new JcaX509CertificateHolder(issuer), new JcaDigestCalculatorProviderBuilder().build())
          && single.getCertID().getSerialNumber().equals(leaf.getSerialNumber())) return statusOf(single);
    }
    throw new Undetermined("the response does not speak of the certificate");
  }

  private static byte[] request(CertificateID id, byte[] nonce) throws Exception {
    var builder = new OCSPReqBuilder().addRequest(id);
    if (nonce != null) {
      var extension = new Extension(OCSPObjectIdentifiers.id_pkix_ocsp_nonce, false, new DEROctetString(nonce).getEncoded());
      builder.setRequestExtensions(new Extensions(extension));
    }
    return builder.build().getEncoded();
  }

  private static byte[] send(String method, byte[] request, String responder) throws Exception {
    var builder = HttpRequest.newBuilder();
    if (method.equals("OCSP GET")) {
      String encoded = URLEncoder.encode(Base64.getEncoder().encodeToString(request), StandardCharsets.US_ASCII);
      builder.uri(URI.create(responder + "/" + encoded)).GET();
    } else {
      builder.uri(URI.create(responder)).header("Content-Type", "application/ocsp-request").POST(BodyPublishers.ofByteArray(request));
    }
    var answer = client.send(builder.build(), BodyHandlers.ofByteArray());
    if (answer.statusCode() != 200) throw new Undetermined("HTTP status " + answer.statusCode());
    return answer.body();
  }

  /** The response is signed by the issuer itself, or by a certificate that it issued directly for that (RFC 6960 §4.2.2.2). */
  private static void requireSigner(BasicOCSPResp basic, X509Certificate issuer) throws Exception {
    var verifiers = new JcaContentVerifierProviderBuilder();
    for (X509CertificateHolder signer : basic.getCerts()) {
      var usages = ExtendedKeyUsage.fromExtensions(signer.getExtensions());
      boolean delegated = usages != null
          && usages.hasKeyPurposeId(KeyPurposeId.id_kp_OCSPSigning)
          && signer.isSignatureValid(verifiers.build(issuer))
          && signer.isValidOn(new Date());
      if (delegated && basic.isSignatureValid(verifiers.build(signer))) return;
    }
    if (!basic.isSignatureValid(verifiers.build(issuer))) throw new Exception("nobody who may has signed the response");
  }

  private static void requireNonce(BasicOCSPResp basic, byte[] nonce) throws Exception {
    Extension echoed = basic.getExtension(OCSPObjectIdentifiers.id_pkix_ocsp_nonce);
    byte[] wanted = new DEROctetString(nonce).getEncoded();
    if (echoed == null || !Arrays.equals(echoed.getExtnValue().getOctets(), wanted)) throw new Exception("the nonce does not come back");
  }

  private static String statusOf(SingleResp single) throws Exception {
    var now = new Date();
    if (now.before(single.getThisUpdate()) || now.after(single.getNextUpdate())) throw new Undetermined("the response is out of date");
    var status = single.getCertStatus();
    if (status == CertificateStatus.GOOD) return "good";
    if (!(status instanceof RevokedStatus revoked)) throw new Undetermined("unknown");
    if (!revoked.hasRevocationReason()) return "revoked unspecified";
    return "revoked " + CRLReason.lookup(revoked.getRevocationReason()).toString().replace("CRLReason: ", "");
  }

  private static X509Certificate read(String file) throws Exception {
    try (var stream = new FileInputStream(file)) {
      return (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(stream);
    }
  }
}
