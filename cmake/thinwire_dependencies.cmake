# Third parties, each found once. The installed package includes this file too, so nothing here may depend on
# where it is read; THINWIRE_TORCH says whether LibTorch and what stands on it are wanted, THINWIRE_WITH_CUDA the same
# of CUDA.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(HWY REQUIRED IMPORTED_TARGET libhwy)
set(MPI_CXX_SKIP_MPICXX ON)
find_package(MPI QUIET COMPONENTS CXX)
if(THINWIRE_WITH_CUDA)
  find_package(CUDAToolkit REQUIRED)
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
  find_package(CLI11 REQUIRED)
  find_package(tomlplusplus REQUIRED)
  find_package(ZLIB REQUIRED)

  # TORCH_LIBRARIES holds paths of this machine; under a name they stay out of what is installed.
  if(NOT TARGET thinwire::torch)
    add_library(thinwire::torch INTERFACE IMPORTED)
    target_link_libraries(thinwire::torch INTERFACE ${TORCH_LIBRARIES})
  endif()
endif()
