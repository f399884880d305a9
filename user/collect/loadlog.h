/* SPDX-License-Identifier: Apache-2.0 */
/* What libbpf says while a BPF program is loaded, kept rather than printed. libbpf has one place for it: so has each thread. */
#ifndef PYBPF_LOADLOG_H
#define PYBPF_LOADLOG_H

/* From here on warnings of this thread are kept, and nothing is printed. */
void loadlog__begin(void);
/* The verifier's reason if it gave one, else the first line of the last warning; "" for none. Valid until loadlog__begin. */
const char *loadlog__text(void);

#endif
