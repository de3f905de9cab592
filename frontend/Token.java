package org.pytorch.serve.http;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/** The bearer token that requests must carry, if any. Only its digest is kept in memory. */
public final class Token {

    /** The token of the file that the system property names; serving/torchserve.py sets it. */
    public static final Token REQUIRED = fromFile(System.getProperty("mnist.token.file"));

    public static final String MISSING = "this server requires a token: the header 'Authorization: Bearer TOKEN'";

    private static final String SCHEME = "Bearer ";

    /** Null if no token is required. */
    private final byte[] digest;

    private Token(byte[] digest) {
        this.digest = digest;
    }

    /** Reads a token file; without a path, no token is required. Throws if the file holds no token. */
    private static Token fromFile(String path) {
        if (path == null) {
            return new Token(null);
        }
        try {
            String text = Files.readString(Path.of(path), StandardCharsets.US_ASCII).strip();
            if (text.isEmpty()) {
                throw new IllegalStateException(path + " holds no token");
            }
            return new Token(digestOf(text));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Whether an Authorization header (null if absent) carries this token; compares in constant time. */
    public boolean matches(String authorization) {
        if (digest == null) {
            return true;
        }
        return authorization != null
                && authorization.regionMatches(true, 0, SCHEME, 0, SCHEME.length())
                && MessageDigest.isEqual(digest, digestOf(authorization.substring(SCHEME.length()).strip()));
    }

    private static byte[] digestOf(String text) {
        try {
            return MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e); // every Java has SHA-256
        }
    }
}
