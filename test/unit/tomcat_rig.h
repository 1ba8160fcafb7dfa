/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the tests of the room "tomcat" share.
 */
#ifndef TOMCAT_RIG_H
#define TOMCAT_RIG_H

#include "../../src/tomcat/internal.h"

/* The tests of the whole room with sockets, and of its parts with time (tomcat_room.c). */
void tomcat_add_room(void *suite);

#endif
