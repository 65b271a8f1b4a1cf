/* The least that a proxy can do on this kernel, for tests/bench/run: for each
 * request one wait, one receive and one send on either side, in one thread, on
 * an edge-triggered set that every socket is entered in once. It parses
 * nothing: whatever comes from an app is taken for a request, for which a
 * prepared one goes to the service, and what comes from there goes back as it
 * is. So it serves small requests alone, one at a time on a connection. Every
 * app has a connection to the service to itself, which the next one inherits,
 * in the clear, or with records that OpenSSL seals and opens where a file of
 * authorities is given.
 *
 *     floor PORT SERVICE-PORT HOST TOKEN [CA-FILE] */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct side {
    int socket; /* -1 when it is closed */
    int is_app;
    int asked; /* of one to the service: an answer is under way */
    SSL *tls;
    struct side *other; /* none: its app has gone */
    struct side *next;  /* of those to the service that are idle */
};

static int set;
static SSL_CTX *tls;
static const char *host;
static struct side *idle;
static struct sockaddr_in service;
static char request[8192], bytes[16384];
static int length;

static void need(int good, const char *what) {
    if (!good) {
        perror(what);
        exit(1);
    }
}

static struct sockaddr_in loopback(const char *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static void watch(int socket, struct side *side) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = side};
    need(epoll_ctl(set, EPOLL_CTL_ADD, socket, &event) == 0, "epoll_ctl");
}

static void begin(struct side *side) {
    int one = 1;
    setsockopt(side->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(side->socket, F_SETFL, O_NONBLOCK);
    watch(side->socket, side);
}

/* A connection to the service; the program waits for that. */
static struct side *dial(void) {
    struct side *there = calloc(1, sizeof *there);
    need(there != NULL, "calloc");
    there->socket = socket(AF_INET, SOCK_STREAM, 0);
    need(connect(there->socket, (struct sockaddr *)&service, sizeof service) == 0, "connect");
    if (tls != NULL) {
        there->tls = SSL_new(tls);
        SSL_set_tlsext_host_name(there->tls, host);
        SSL_set1_host(there->tls, host);
        SSL_set_fd(there->tls, there->socket);
        need(SSL_connect(there->tls) == 1, "SSL_connect");
    }
    begin(there);
    return there;
}

static void take(int listener) {
    /* Never given back: the changes of one wait may name a side that is closed. */
    struct side *app = calloc(1, sizeof *app);
    need(app != NULL, "calloc");
    app->socket = accept(listener, NULL, NULL);
    need(app->socket >= 0, "accept");
    app->is_app = 1;
    app->other = idle;
    if (idle != NULL)
        idle = idle->next;
    else
        app->other = dial();
    app->other->other = app;
    begin(app);
}

static void keep(struct side *there) {
    there->next = idle;
    idle = there;
}

static void end(struct side *app) {
    close(app->socket);
    app->socket = -1;
    app->other->other = NULL;
    if (!app->other->asked)
        keep(app->other);
}

/* How much has come: 0 at an end of whatever kind, below that where it was nothing for us, such
 * as the tickets of a session. */
static int receive(struct side *side) {
    if (side->tls == NULL) {
        int count = recv(side->socket, bytes, sizeof bytes, 0);
        return count < 0 && errno != EAGAIN ? 0 : count;
    }
    int count = SSL_read(side->tls, bytes, sizeof bytes);
    return count <= 0 && SSL_get_error(side->tls, count) == SSL_ERROR_ZERO_RETURN ? 0 : count;
}

static void pass(struct side *from) {
    int count = receive(from);
    struct side *to = from->other;
    if (count == 0) {
        need(from->is_app, "the service closed a connection");
        end(from);
    } else if (count > 0 && from->is_app) {
        int sent = to->tls ? SSL_write(to->tls, request, length)
                           : send(to->socket, request, length, MSG_NOSIGNAL);
        need(sent == length, "to the service");
        to->asked = 1;
    } else if (count > 0) {
        from->asked = 0;
        if (to == NULL)
            keep(from);
        else /* One that has gone is told of by its own side. */
            send(to->socket, bytes, count, MSG_NOSIGNAL);
    }
}

int main(int count, char **arguments) {
    struct epoll_event changes[256];
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);

    if (count < 5)
        return 2;
    struct sockaddr_in here = loopback(arguments[1]);
    service = loopback(arguments[2]);
    host = arguments[3];
    length = snprintf(request, sizeof request,
                      "GET / HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", host,
                      arguments[4]);
    if (count > 5) {
        tls = SSL_CTX_new(TLS_client_method());
        need(SSL_CTX_load_verify_locations(tls, arguments[5], NULL) == 1, "authorities");
        SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
        /* One receive for a record instead of two. */
        SSL_CTX_set_read_ahead(tls, 1);
    }
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    need(bind(listener, (struct sockaddr *)&here, sizeof here) == 0, "bind");
    need(listen(listener, 4096) == 0, "listen");
    set = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    need(epoll_ctl(set, EPOLL_CTL_ADD, listener, &event) == 0, "epoll_ctl");
    for (;;) {
        int found = epoll_wait(set, changes, 256, -1);
        for (int i = 0; i < found; i++) {
            struct side *side = changes[i].data.ptr;
            if (side == NULL)
                take(listener);
            else if (side->socket >= 0)
                pass(side);
        }
    }
}
