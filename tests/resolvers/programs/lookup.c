/* Looks names up with the C library's own resolver: for each argument one line,
   the name and its addresses, or the error. */
#define _POSIX_C_SOURCE 200112L
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        struct addrinfo hints, *found = NULL;
        memset(&hints, 0, sizeof hints);
        hints.ai_socktype = SOCK_STREAM;
        int failed = getaddrinfo(argv[i], NULL, &hints, &found);
        printf("%s", argv[i]);
        if (failed) printf(" error: %s", gai_strerror(failed));
        for (struct addrinfo *one = found; one; one = one->ai_next) {
            char text[INET6_ADDRSTRLEN] = "?";
            const void *address = one->ai_family == AF_INET
                ? (const void *)&((struct sockaddr_in *)one->ai_addr)->sin_addr
                : (const void *)&((struct sockaddr_in6 *)one->ai_addr)->sin6_addr;
            inet_ntop(one->ai_family, address, text, sizeof text);
            printf(" %s", text);
        }
        printf("\n");
        if (found) freeaddrinfo(found);
    }
    return 0;
}
