package org.pytorch.serve.http;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/** The token that requests must carry, if any. What is kept of it is its digest. */
public final class Token {

    /** As this process was told where it is. */
    public static final Token ASKED_FOR = fromFile(System.getProperty("mnist.token.file"));

    public static final String MISSING = "this server asks for a token: the header 'Authorization: Bearer TOKEN'";

    private static final String SCHEME = "Bearer ";

    /** Null where no token is asked for. */
    private final byte[] digest;

    private Token(byte[] digest) {
        this.digest = digest;
    }

    /** The token of a file; without a file, none is asked for. A file without a token stops the server's answers. */
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

    /** Whether an Authorization header, null where there is none, has it; in the same time wherever it differs. */
    public boolean isIn(String authorization) {
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
