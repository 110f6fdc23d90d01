/* Integer matrix product. */
#include "kernel.h"

enum { N = 128, ROUNDS = 24 };
static int32_t a[N][N], b[N][N], c[N][N];

void kernel_init(void) {
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            a[i][j] = i * 7 + j * 3;
            b[i][j] = i * 5 - j * 11;
        }
}

uint64_t kernel_run(void) {
    uint64_t sum = 0;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                int32_t dot = 0;
                for (int k = 0; k < N; k++) dot += a[i][k] * b[k][j];
                c[i][j] = dot;
            }
        a[round][round] ^= c[round][N - 1 - round];
        sum += (uint32_t)c[round][round];
    }
    return sum;
}
