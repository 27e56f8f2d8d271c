# thinwire_generated: every source that the build generates, for tools that read sources without building.
add_custom_target(thinwire_generated)

# thinwire_protobuf(NAME FILE.proto): messages and services as an object library, without our warnings; the headers
# FILE.pb.h and FILE.grpc.pb.h lie in the current binary folder.
function(thinwire_protobuf name proto)
  get_filename_component(stem ${proto} NAME_WE)
  get_filename_component(path ${proto} ABSOLUTE)
  get_filename_component(folder ${path} DIRECTORY)
  set(out "${CMAKE_CURRENT_BINARY_DIR}")
  set(generated ${out}/${stem}.pb.cc ${out}/${stem}.pb.h ${out}/${stem}.grpc.pb.cc ${out}/${stem}.grpc.pb.h)
  add_custom_command(
    OUTPUT ${generated}
    COMMAND protobuf::protoc --proto_path=${folder} --cpp_out=${out} --grpc_out=${out}
            --plugin=protoc-gen-grpc=$<TARGET_FILE:gRPC::grpc_cpp_plugin> ${path}
    DEPENDS ${path} VERBATIM)
  add_custom_target(${name}_sources DEPENDS ${generated})
  add_dependencies(thinwire_generated ${name}_sources)
  add_library(${name} OBJECT ${generated})
  target_link_libraries(${name} PRIVATE gRPC::grpc++ protobuf::libprotobuf)
  target_include_directories(${name} PRIVATE ${out})
endfunction()
