/* A service that costs as little as one can, for tests/bench/run: the proxies
 * are to be what everybody waits for, not this. It speaks HTTP/1.1 over TLS by
 * OpenSSL in one thread, parses nothing, and answers whatever ends like a head
 * with the same small response.
 *
 *     service PORT CERTIFICATE-AND-CHAIN KEY */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* What nginx says for `return 200 "ok"`. */
static const char answer[] = "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\n"
                             "Date: Thu, 26 Nov 2026 00:00:00 GMT\r\nContent-Type: text/plain\r\n"
                             "Content-Length: 2\r\nConnection: keep-alive\r\n\r\nok";
static char bytes[16384];

static void need(int good, const char *what) {
    if (!good) {
        perror(what);
        exit(1);
    }
}

static void take(int set, int listener, SSL_CTX *tls) {
    int one = 1, socket = accept(listener, NULL, NULL);
    need(socket >= 0, "accept");
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(socket, F_SETFL, O_NONBLOCK);
    SSL *one_tls = SSL_new(tls);
    SSL_set_fd(one_tls, socket);
    SSL_set_accept_state(one_tls);
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = one_tls};
    need(epoll_ctl(set, EPOLL_CTL_ADD, socket, &event) == 0, "epoll_ctl");
}

/* What has come: a part of a handshake, a request as one record, or the end. */
static void serve(SSL *tls) {
    /* What another connection has left there would be taken for an end of this one. */
    ERR_clear_error();
    int count = SSL_read(tls, bytes, sizeof bytes);
    if (count > 4 && memcmp(bytes + count - 4, "\r\n\r\n", 4) == 0) {
        need(SSL_write(tls, answer, sizeof answer - 1) == sizeof answer - 1, "to the proxy");
    } else if (count > 0 || SSL_get_error(tls, count) != SSL_ERROR_WANT_READ) {
        close(SSL_get_fd(tls));
        SSL_free(tls);
    }
}

int main(int count, char **arguments) {
    struct epoll_event changes[256], event = {.events = EPOLLIN, .data.ptr = NULL};
    struct sockaddr_in here = {.sin_family = AF_INET};
    int one = 1, set = epoll_create1(0), listener = socket(AF_INET, SOCK_STREAM, 0);
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());

    if (count < 4)
        return 2;
    need(SSL_CTX_use_certificate_chain_file(tls, arguments[2]) == 1, "certificate");
    need(SSL_CTX_use_PrivateKey_file(tls, arguments[3], SSL_FILETYPE_PEM) == 1, "key");
    /* One receive for a record instead of two. */
    SSL_CTX_set_read_ahead(tls, 1);
    here.sin_port = htons(atoi(arguments[1]));
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    need(bind(listener, (struct sockaddr *)&here, sizeof here) == 0, "bind");
    need(listen(listener, 4096) == 0, "listen");
    need(epoll_ctl(set, EPOLL_CTL_ADD, listener, &event) == 0, "epoll_ctl");
    for (;;) {
        int found = epoll_wait(set, changes, 256, -1);
        for (int i = 0; i < found; i++) {
            if (changes[i].data.ptr == NULL)
                take(set, listener, tls);
            else
                serve(changes[i].data.ptr);
        }
    }
}
