# thinwire_target(), and the precompiled headers that targets share. A source that sees all of torch/torch.h takes some
# 12 s of a core before its own first line, with Tensor.h 2 s; so headers of ours see Tensor.h alone, and what
# many sources include anyway is read once. Each source still includes what it uses.
if(THINWIRE_TORCH)
  set(thinwire_plain_headers <algorithm> <filesystem> <functional> <map> <memory> <optional> <string> <vector> <fmt/format.h>
      <nlohmann/json.hpp>)
  set(thinwire_tensor_headers ${thinwire_plain_headers} <ATen/core/Tensor.h> <ATen/core/grad_mode.h> <ATen/TensorOperators.h>
      <ATen/ops/empty.h> <ATen/ops/zeros.h>)
  set(thinwire_module_headers ${thinwire_tensor_headers} <torch/nn/module.h> <torch/csrc/autograd/custom_function.h>)

  # A source that includes torch takes up to 2.5 GB of memory to compile.
  cmake_host_system_information(RESULT memory_mib QUERY TOTAL_PHYSICAL_MEMORY)
  math(EXPR torch_jobs "${memory_mib} / 2500 + 1")
  set_property(GLOBAL APPEND PROPERTY JOB_POOLS torch=${torch_jobs})

  # LibTorch's headers bring a newer fmt than the system's library is built from, and no library of it.
  add_library(thinwire_fmt STATIC "${CMAKE_CURRENT_LIST_DIR}/fmt_functions.cpp")
  target_link_libraries(thinwire_fmt PUBLIC thinwire_flags thinwire::torch)

  file(CONFIGURE OUTPUT "${CMAKE_BINARY_DIR}/precompiled.cpp" CONTENT "// Owner of a precompiled header.\n")
  foreach(kind plain tensor module)
    set(owner thinwire_${kind}_pch)
    add_library(${owner} OBJECT EXCLUDE_FROM_ALL "${CMAKE_BINARY_DIR}/precompiled.cpp")
    target_link_libraries(${owner} PRIVATE thinwire_flags thinwire_warnings thinwire::torch)
    target_compile_definitions(${owner} PRIVATE AT_PER_OPERATOR_HEADERS)
    target_precompile_headers(${owner} PRIVATE ${thinwire_${kind}_headers})
  endforeach()
endif()

# thinwire_target(NAME [TORCH plain | tensor | module]): what every library and program of ours has in common. TORCH: it
# uses LibTorch, with its fmt, and shares that precompiled header.
function(thinwire_target name)
  cmake_parse_arguments(ARG "" "TORCH" "" ${ARGN})
  target_link_libraries(${name} PUBLIC thinwire_flags PRIVATE $<BUILD_INTERFACE:thinwire_warnings>)
  if(ARG_TORCH)
    target_link_libraries(${name} PUBLIC thinwire_fmt thinwire::torch)
    target_precompile_headers(${name} REUSE_FROM thinwire_${ARG_TORCH}_pch)
    target_compile_definitions(${name} PRIVATE AT_PER_OPERATOR_HEADERS)
    set_target_properties(${name} PROPERTIES JOB_POOL_COMPILE torch)
    get_target_property(type ${name} TYPE)
    if(type STREQUAL "EXECUTABLE")
      # Programs would be compiled with -fPIE, for which the compiler does not take a header made with -fPIC.
      set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
      target_compile_options(${name} PRIVATE -fPIC)
    endif()
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      # ccache looks for the precompiled header in the preprocessed source.
      target_compile_options(${name} PRIVATE -fpch-preprocess)
    endif()
  endif()
endfunction()
