# What `cmake --install` lays down: headers under include/thinwire, one library per folder, the program, and the
# package that find_package(thinwire) reads. Folders become targets: thinwire::comm, thinwire::launch, ...
include(CMakePackageConfigHelpers)

set(folders thinwire_flags thinwire_quant thinwire_quant_cuda thinwire_comm thinwire_format)
set(header_folders quant comm trainer)
if(THINWIRE_TORCH)
  list(APPEND folders thinwire_fmt thinwire_quant_nn thinwire_trainer thinwire_launch)
  list(APPEND header_folders launch)
endif()
foreach(folder IN LISTS folders)
  string(REPLACE "thinwire_" "" export_name ${folder})
  set_target_properties(${folder} PROPERTIES EXPORT_NAME ${export_name})
endforeach()

install(TARGETS ${folders} EXPORT thinwire ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${header_folders} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/thinwire FILES_MATCHING PATTERN "*.h")
if(TARGET thinwire)
  # LibTorch stays where it is, and the installed program finds it there; CMake leaves out folders under our own.
  set_target_properties(thinwire PROPERTIES INSTALL_RPATH "${TORCH_INSTALL_PREFIX}/lib"
                                            INSTALL_RPATH_USE_LINK_PATH ON)
  install(TARGETS thinwire RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/thinwire)
configure_package_config_file(cmake/thinwireConfig.cmake.in "${CMAKE_BINARY_DIR}/thinwireConfig.cmake"
                              INSTALL_DESTINATION ${package_dir} PATH_VARS CMAKE_INSTALL_BINDIR
                              NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file("${CMAKE_BINARY_DIR}/thinwireConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_BINARY_DIR}/thinwireConfig.cmake" "${CMAKE_BINARY_DIR}/thinwireConfigVersion.cmake"
              cmake/thinwire_dependencies.cmake DESTINATION ${package_dir})
install(EXPORT thinwire NAMESPACE thinwire:: FILE thinwireTargets.cmake DESTINATION ${package_dir})
