/* CRC-32 by table (the zlib polynomial). */
#include "kernel.h"

enum { SIZE = 65536, ROUNDS = 400 };
static uint32_t table[256];
static unsigned char data[SIZE];

void kernel_init(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
        table[i] = c;
    }
    uint32_t x = 1;
    for (int i = 0; i < SIZE; i++) {
        x = x * 1664525u + 1013904223u;
        data[i] = (unsigned char)(x >> 24);
    }
}

uint64_t kernel_run(void) {
    uint32_t crc = 0xffffffffu;
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < SIZE; i++) crc = table[(crc ^ data[i]) & 0xff] ^ (crc >> 8);
    return crc;
}
