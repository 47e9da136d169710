# SPDX-License-Identifier: ISC
# find_package(cleave CONFIG): what pkg-config says, as targets.  cleave::cleave is the library alone; cleave::memb,
# cleave::qsbr, cleave::bp and cleave::ck, where the build has them, come with the flavour and the macro for section.h.
include(CMakeFindDependencyMacro)
find_dependency(PkgConfig)

set(cleave_kept_path "$ENV{PKG_CONFIG_PATH}")
set(ENV{PKG_CONFIG_PATH} "${CMAKE_CURRENT_LIST_DIR}/../../pkgconfig:$ENV{PKG_CONFIG_PATH}")
foreach(cleave_name cleave memb qsbr bp ck)
  if(NOT TARGET cleave::${cleave_name})
    if(cleave_name STREQUAL cleave)
      pkg_check_modules(cleave_${cleave_name} QUIET IMPORTED_TARGET GLOBAL cleave)
    else()
      pkg_check_modules(cleave_${cleave_name} QUIET IMPORTED_TARGET GLOBAL cleave-${cleave_name})
    endif()
    if(cleave_${cleave_name}_FOUND)
      add_library(cleave::${cleave_name} ALIAS PkgConfig::cleave_${cleave_name})
    endif()
  endif()
endforeach()
set(ENV{PKG_CONFIG_PATH} "${cleave_kept_path}")
if(NOT TARGET cleave::cleave)
  set(cleave_FOUND FALSE)
endif()
