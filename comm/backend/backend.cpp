#include "comm/backend/backend.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <stdexcept>

#include "comm/backend/grpc/grpc_backend.h"
#include "comm/backend/mpi/mpi_backend.h"
#include "comm/backend/nccl/nccl_backend.h"
#include "comm/backend/threads/thread_transport.h"

namespace thinwire::comm {

namespace {

struct Backend {
  std::string name;
  std::unique_ptr<Transport> (*connect)(const BackendOptions&);
  // Throws what connect would, if that is known without the other ranks.
  void (*require)() = [] {};
};

// A world of one needs no mailboxes but its own.
std::unique_ptr<Transport> connect_solo_thread(const BackendOptions&) {
  return make_thread_transport(std::make_shared<ThreadWorld>(1), 0);
}

const std::vector<Backend>& backends() {
  static const std::vector<Backend> all = {
      {"threads", connect_solo_thread},
      {"mpi", connect_mpi},
      {"grpc", connect_grpc},
      {"nccl", connect_nccl, require_nccl},
  };
  return all;
}

const Backend& find_backend(const std::string& name) {
  for (const Backend& backend : backends()) {
    if (backend.name == name) return backend;
  }
  throw std::invalid_argument(
      fmt::format("comm.backend: expected one of {}, got \"{}\"", fmt::join(backend_names(), ", "), name));
}

}  // namespace

std::unique_ptr<Communicator> make_solo() {
  return connect({.name = "threads"});
}

std::unique_ptr<Communicator> connect(const BackendOptions& options) {
  return std::make_unique<Communicator>(find_backend(options.name).connect(options), options.timeout_s);
}

void require_backend(const std::string& name) {
  find_backend(name).require();
}

std::vector<std::string> backend_names() {
  std::vector<std::string> names;
  for (const Backend& backend : backends()) names.push_back(backend.name);
  return names;
}

std::vector<std::function<std::unique_ptr<Communicator>()>> make_thread_world(int size, double timeout_s) {
  const auto world = std::make_shared<ThreadWorld>(size);
  std::vector<std::function<std::unique_ptr<Communicator>()>> makers;
  for (int rank = 0; rank < size; ++rank) {
    makers.push_back(
        [=] { return std::make_unique<Communicator>(make_thread_transport(world, rank), timeout_s); });
  }
  return makers;
}

}  // namespace thinwire::comm
