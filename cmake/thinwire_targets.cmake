# thinwire_target(), and the precompiled torch header that it shares among all targets that use LibTorch.
if(THINWIRE_TORCH)
  # A source that includes torch takes up to 2.5 GB of memory to compile.
  cmake_host_system_information(RESULT memory_mib QUERY TOTAL_PHYSICAL_MEMORY)
  math(EXPR torch_jobs "${memory_mib} / 2500 + 1")
  set_property(GLOBAL APPEND PROPERTY JOB_POOLS torch=${torch_jobs})

  file(CONFIGURE OUTPUT "${CMAKE_BINARY_DIR}/torch_pch.cpp" CONTENT "// Owner of the precompiled torch header.\n")
  add_library(thinwire_torch_pch OBJECT "${CMAKE_BINARY_DIR}/torch_pch.cpp")
  target_link_libraries(thinwire_torch_pch PRIVATE thinwire_flags thinwire_warnings thinwire::torch)
  target_precompile_headers(thinwire_torch_pch PRIVATE <torch/torch.h>)
endif()

# thinwire_target(NAME [TORCH]): what every library and program of ours has in common.
function(thinwire_target name)
  cmake_parse_arguments(ARG "TORCH" "" "" ${ARGN})
  target_link_libraries(${name} PUBLIC thinwire_flags PRIVATE $<BUILD_INTERFACE:thinwire_warnings>)
  if(ARG_TORCH)
    target_link_libraries(${name} PUBLIC thinwire::torch)
    target_precompile_headers(${name} REUSE_FROM thinwire_torch_pch)
    # LibTorch's headers bring a newer fmt than the system's library is built from.
    target_compile_definitions(${name} PRIVATE FMT_HEADER_ONLY)
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
