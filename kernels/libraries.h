/*
 * Versions of the libraries that kernels are linked with, for `doctor`.
 */
#ifndef HONE_KERNELS_LIBRARIES_H
#define HONE_KERNELS_LIBRARIES_H

/* "2.6.3"; "none" in a build without it. */
const char *hone_onednn_version(void);

#endif
