/*
$about */
#include "$name.h"

/* Right shifts of negative numbers keep the sign, and the work buffer has no gaps. */
typedef char ${name}_shifts_keep_the_sign[(-1 >> 1) == -1 ? 1 : -1];
typedef char ${name}_work_has_its_size[sizeof(${name}_work) == ${NAME}_WORK_BYTES ? 1 : -1];

#define CLASSES ${NAME}_CLASSES
#define NOT_ASKED ${NAME}_NOT_ASKED
