/* A kernel: `kernel_init` runs once, `kernel_run` is what is measured, and returns a checksum. */
#pragma once

#include <stddef.h>
#include <stdint.h>

void kernel_init(void);
uint64_t kernel_run(void);
