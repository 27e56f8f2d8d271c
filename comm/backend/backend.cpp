#include "comm/backend/backend.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <stdexcept>

#include "comm/backend/mpi/mpi_backend.h"
#include "comm/backend/threads/thread_transport.h"

namespace thinwire::comm {

namespace {

struct Backend {
  std::string name;
  std::unique_ptr<Transport> (*connect)(const BackendOptions&);
};

// A world of one needs no mailboxes but its own.
std::unique_ptr<Transport> connect_solo_thread(const BackendOptions&) {
  return make_thread_transport(std::make_shared<ThreadWorld>(1), 0);
}

const std::vector<Backend>& backends() {
  static const std::vector<Backend> all = {
      {"threads", connect_solo_thread},
      {"mpi", connect_mpi},
  };
  return all;
}

}  // namespace

std::unique_ptr<Communicator> make_solo() {
  return connect({.name = "threads"});
}

std::unique_ptr<Communicator> connect(const BackendOptions& options) {
  for (const Backend& backend : backends()) {
    if (backend.name == options.name) {
      return std::make_unique<Communicator>(backend.connect(options), options.timeout_s);
    }
  }
  throw std::invalid_argument(fmt::format("comm.backend: expected one of {}, got \"{}\"",
                                          fmt::join(backend_names(), ", "), options.name));
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
