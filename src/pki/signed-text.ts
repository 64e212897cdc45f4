/** First line of the text that the binding test signs. Its first octet is not 0x30, so it is never a certificate, CRL or OCSP response. */
export const bindingHead = "chancery binding\n";

/** First line of the text that the health check signs. */
export const healthHead = "chancery health\n";
