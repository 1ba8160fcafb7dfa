/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file tomcat.h
 * @brief What the targets of the room "tomcat" share.
 */
#ifndef FUZZ_TOMCAT_H
#define FUZZ_TOMCAT_H

#include "sc_base.h"

#define FUZZ_TOMCAT_MAP "localhost#/app-map"

/** Of the question that the captured answer belongs to. */
extern const sc_uid_t fuzz_tomcat_call;
/** A captured frame with the places of nine sessions; read from SC_VECTORS once. */
const unsigned char *fuzz_tomcat_answer(apr_size_t *len);

#endif
