#include <errno.h>
#include "unwind/table.h"
int __attribute__((weak)) unwind_table__build(struct elf *elf, struct unwind_table **out, struct err *e) { return -ENOENT; }
void __attribute__((weak)) unwind_table__free(struct unwind_table *t) {}
