# Third parties, each found once. The installed package includes this file too, so nothing here may depend on
# where it is read; THINWIRE_TORCH says whether LibTorch and what stands on it are wanted, THINWIRE_WITH_CUDA the same
# of CUDA.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(HWY REQUIRED IMPORTED_TARGET libhwy)
# Before Torch, whose wheel ships an old Protobuf of its own; without them the backend grpc is a stub.
# Protobuf's archive, not its shared library: SentencePiece carries a Protobuf of its own, older, under the same
# names, and would be bound to that of the process (thinwire_comm hides ours).
set(Protobuf_USE_STATIC_LIBS ON)
find_package(OpenSSL QUIET)
find_package(Protobuf QUIET)
find_package(gRPC CONFIG QUIET)
set(MPI_CXX_SKIP_MPICXX ON)
find_package(MPI QUIET COMPONENTS CXX)
if(THINWIRE_WITH_CUDA)
  find_package(CUDAToolkit REQUIRED)
  # Where cmake/gpu.sh lays NCCL down, where NCCL_ROOT says, or in the system.
  set(nccl_roots ${NCCL_ROOT} "$ENV{NCCL_ROOT}" "${CMAKE_SOURCE_DIR}/build/nccl/nvidia/nccl")
  find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${nccl_roots} PATH_SUFFIXES include)
  find_library(NCCL_LIBRARY NAMES nccl libnccl.so.2 HINTS ${nccl_roots} PATH_SUFFIXES lib)
  if(NCCL_INCLUDE_DIR AND NCCL_LIBRARY)
    set(THINWIRE_WITH_NCCL ON)
    if(NOT TARGET thinwire::nccl)
      add_library(thinwire::nccl INTERFACE IMPORTED)
      target_include_directories(thinwire::nccl SYSTEM INTERFACE "${NCCL_INCLUDE_DIR}")
      target_link_libraries(thinwire::nccl INTERFACE "${NCCL_LIBRARY}" CUDA::cudart_static)
    endif()
  elseif(THINWIRE_WITH_NCCL)
    message(FATAL_ERROR "thinwire was built with NCCL: set NCCL_ROOT to the folder of include/nccl.h and lib/libnccl.so.2")
  endif()
endif()

if(THINWIRE_TORCH)
  # The wheel stays out of CMAKE_PREFIX_PATH: it ships old headers of other projects.
  if(NOT Torch_DIR AND DEFINED ENV{Torch_DIR})
    set(Torch_DIR "$ENV{Torch_DIR}")
  elseif(NOT Torch_DIR)
    file(GLOB wheel_torch "${CMAKE_SOURCE_DIR}/build/venv/lib/python3*/site-packages/torch/share/cmake/Torch")
    if(wheel_torch)
      list(GET wheel_torch 0 Torch_DIR)
    endif()
  endif()
  set(Torch_DIR "${Torch_DIR}" CACHE PATH "Folder of TorchConfig.cmake")
  find_package(Torch REQUIRED)
  pkg_check_modules(SENTENCEPIECE REQUIRED IMPORTED_TARGET sentencepiece)
  find_package(tomlplusplus REQUIRED)
  find_package(ZLIB REQUIRED)

  # TORCH_LIBRARIES holds paths of this machine; under a name they stay out of what is installed.
  if(NOT TARGET thinwire::torch)
    add_library(thinwire::torch INTERFACE IMPORTED)
    target_link_libraries(thinwire::torch INTERFACE ${TORCH_LIBRARIES})
  endif()
endif()
