"""The same network and the same preprocessing behind other servers, each as its documentation would have it."""
