# THINWIRE_CUDA: whether CUDA kernels and the NCCL backend are built. After this file, THINWIRE_WITH_CUDA says so.
# Nothing else of thinwire needs CUDA, at build or at run; LibTorch may be of either kind.
set(THINWIRE_CUDA AUTO CACHE STRING "Build the CUDA kernels: ON, OFF, or AUTO (ON where nvcc is found and works)")
set_property(CACHE THINWIRE_CUDA PROPERTY STRINGS AUTO ON OFF)

set(THINWIRE_WITH_CUDA OFF)
if(THINWIRE_SANITIZE)
  # nvcc knows no sanitizers. The arithmetic runs under them as host code.
elseif(THINWIRE_CUDA STREQUAL "AUTO")
  # An nvcc that does not get along with the host's compiler counts as none.
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(THINWIRE_WITH_CUDA ON)
  endif()
elseif(THINWIRE_CUDA)
  set(THINWIRE_WITH_CUDA ON)
endif()
if(NOT THINWIRE_WITH_CUDA)
  return()
endif()

if(NOT CMAKE_CUDA_ARCHITECTURES)
  # Machine code for 8.0 (which 8.6 and 8.9 run) and 9.0, and code that later devices compile for themselves.
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90 CACHE STRING "CUDA architectures")
endif()
if(THINWIRE_CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
endif()
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")  # CMake 3.25 does not know it of nvcc
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
